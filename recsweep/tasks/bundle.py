"""Packs compared runs into one file that others can check."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from recsweep.app import Job, Settings, sweep_folder
from recsweep.errors import InputError
from recsweep.files import expand_user
from recsweep.interfaces import STRICT, HomePath
from recsweep.messages import print_to_stdout

# The rest is imported where it is used: --help must not wait for pandas, MLflow or a backend.


@dataclass(kw_only=True, config=STRICT)
class Bundle:
    """Write one file with all that is needed to train runs again and to check their results.

    Args:
        of: Studies, folders of a sweep's comparison, MLflow run ids or run names, results folders.
        output: A new file.
        models: Whether the trained models are in it.
        overwrite: Whether an existing file may be replaced.
    """

    of: Annotated[
        list[Annotated[str, Field(min_length=1)]],
        BeforeValidator(lambda entry: [entry] if isinstance(entry, str) else entry),
    ]
    output: HomePath
    models: bool
    overwrite: bool

    def run(self, job: Job) -> None:
        """Print the rows and the command that checks them."""
        from recsweep.comparison.contenders import group_runs
        from recsweep.files import disk_errors_in_one_line, refuse_file, whole_file
        from recsweep.runs.bundle import write_bundle
        from recsweep.runs.consistency import check_curves, metrics_per_user
        from recsweep.runs.scored_run import read_run
        from recsweep.shell import command

        if not self.of:
            raise InputError(
                "task.of must name what is to be bundled, but is empty; give studies, runs or "
                "results folders, 'task.of=[a,b]'"
            )
        file = refuse_file(self.output, "task.output", self.overwrite)
        with TemporaryDirectory(prefix="recsweep-") as fetched:
            runs = [
                read_run(folder, str(folder), study)
                for entry in self.of
                for folder, study in _folders(entry, job.settings, Path(fetched))
            ]
            for run in runs:
                check_curves(Path(run.place))
                metrics_per_user(Path(run.place), "valid")
            rows = {
                each.name: [Path(run.place) for run in each.replicates] for each in group_runs(runs)
            }
            with disk_errors_in_one_line(file, "task.output"), whole_file(file) as out:
                write_bundle(rows, out, with_models=self.models)
        for name, folders in rows.items():
            print_to_stdout(f"row       {name}: {len(folders)} run{'s' * (len(folders) > 1)}")
        print_to_stdout(f"bundle    {self.output}, {file.stat().st_size / 2**20:,.1f} MiB")
        check = command("task=reproduce", f"task.bundle={self.output}")
        print_to_stdout(f"check     {check}")


def _folders(entry: str, settings: Settings, fetched: Path) -> Iterator[tuple[Path, str | None]]:
    """Results folders of one entry, each with its study; folders are tried first."""
    from recsweep.run_files import STUDIES, is_run, is_study, read_compared
    from recsweep.runs.lookup import find_run
    from recsweep.runs.scored_run import replicates_of

    folder, sweeps = expand_user(entry), sweep_folder(settings)
    study = next((path for path in (sweeps / entry, folder) if is_study(path)), None)
    if is_run(folder):
        yield folder, None
    elif (folder / STUDIES).is_file():
        for name in read_compared(folder):
            for results in replicates_of(folder.absolute().parent / name):
                yield results, name
    elif study is not None:
        for results in replicates_of(study):
            yield results, study.name
    else:
        place = fetched / str(len(list(fetched.iterdir())))
        place.mkdir()
        yield find_run(entry, settings, place).results, None
