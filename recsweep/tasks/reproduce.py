"""Retrains a finished run in a fresh process and compares the results with the run's."""

import logging
import multiprocessing
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from io import StringIO
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep import app
from recsweep.app import OF_NOW, PLACES, Config, Job, Settings
from recsweep.build import validate
from recsweep.errors import InputError
from recsweep.interfaces import STRICT, HomePath
from recsweep.messages import print_to_stdout
from recsweep.run_files import MODEL, RESULTS

if TYPE_CHECKING:
    from recsweep.runs.past_run import PastRun
    from recsweep.runs.reproduction import Comparison, Difference

# The rest is imported where it is used: --help must not wait for pandas, MLflow or a backend.

log = logging.getLogger(__name__)


class Repeat(NamedTuple):
    """The task of a fresh process.

    Args:
        name: The run's name.
        config: The run's configuration, resolved.
        folder: Output folder of the repeat.
        overrides: The overrides of the run's command line.
        environment: The run's environment.
        may_fetch: Whether its data may be downloaded.
    """

    name: str
    config: Config
    folder: Path
    overrides: list[str]
    environment: dict[str, str]
    may_fetch: bool


@dataclass(kw_only=True, config=STRICT)
class Reproduce:
    """Repeat a run and report whether the results are the same, or how much they differ.

    Args:
        run: Id of an MLflow run, `latest`, the name of a study or a run, or a results folder.
        bundle: A file written by `task=bundle`, whose runs are repeated instead.
        row: Its only row to repeat; None = all.
        tolerance: Largest allowed difference of a mean, relative to means above 1, if the
            environment has changed.
        other_data: What to do if data or split are not those of the run.
    """

    from_run: Annotated[str | None, Field(alias="run", min_length=1)]
    bundle: HomePath | None
    row: Annotated[str, Field(min_length=1)] | None
    tolerance: Annotated[float, Field(ge=0, lt=1)]
    other_data: Literal["refuse", "compare"]

    def __post_init__(self) -> None:
        if self.from_run is not None and self.bundle is not None:
            raise InputError("task.run and task.bundle exclude each other, but both are given")
        if self.row is not None and self.bundle is None:
            raise InputError("task.row is a row of a bundle, but task.bundle is null; give both")

    def run(self, job: Job) -> None:
        """Print differences of the environment, train, and print how the metrics compare.

        Raises:
            InputError: A run cannot be repeated, or its metrics are not reproduced.
        """
        from recsweep.files import refuse_folder
        from recsweep.runs.lookup import find_run

        refuse_folder(job.results, "hydra.run.dir")
        with TemporaryDirectory(prefix="recsweep-") as fetched:
            if self.bundle is not None:
                self._check(self.bundle, job, Path(fetched))
            else:
                past = find_run(self._given(), job.settings, Path(fetched))
                _refuse_changes(self._compared(past, job, job.results.parent))

    def _given(self) -> str:
        if self.from_run is None:
            raise InputError(
                "task.run must name the run to repeat, but is null; give the id of an MLflow "
                "run, task.run=latest, or task.run=OUTPUT_FOLDER/results, or give task.bundle=FILE"
            )
        return self.from_run

    def _check(self, bundle: Path, job: Job, fetched: Path) -> None:
        """Repeat the runs of a bundle, one after the other, and print how each compares."""
        from recsweep.files import disk_errors_in_one_line, whole_file
        from recsweep.run_files import REPRODUCTION, yaml_text

        outcomes: dict[str, str] = {}
        for index, past in enumerate(_unpacked(bundle, job, fetched, self.row)):
            try:
                comparison = self._compared(past, job, job.results / f"{index:02d}")
                outcomes[past.name] = comparison.summary()
            except InputError as error:
                said = str(error).replace(str(past.results), past.name)
                outcomes[past.name] = f"not repeated: {said}"
                print_to_stdout(outcomes[past.name])
            print_to_stdout("")
        file = job.results / REPRODUCTION
        with disk_errors_in_one_line(file, "hydra.run.dir"), whole_file(file) as out:
            out.write(yaml_text(outcomes).encode())
        print_to_stdout(*(f"{name}: {outcome}" for name, outcome in outcomes.items()))
        failed = [name for name, outcome in outcomes.items() if outcome.startswith("not ")]
        if failed:
            raise InputError(
                f"{len(failed)} of {len(outcomes)} runs of the bundle were not reproduced, first "
                f"{failed[0]}; see above what differs"
            )

    def _compared(self, past: "PastRun", job: Job, folder: Path) -> "Comparison":
        """Repeat a run into a folder, print what differs, and write it beside the results."""
        from recsweep.runs.reproduction import (
            Comparison,
            Measured,
            environment_differences,
            may_change_metrics,
        )

        before = past.environment()
        is_bundled = self.bundle is not None
        repeat = _repeat(past, job, before, folder, is_bundled=is_bundled)
        is_kept = not is_bundled or (past.results / MODEL).is_dir()
        was = Measured.of(past.results, with_weights=is_kept)
        print_to_stdout(f"run       {past.name}")
        with _fresh_process(_train_again, repeat) as answer:
            now = answer()
            changed = environment_differences(before, now)
            for each in changed:
                print_to_stdout(f"differs   {each}")
            self._refuse_other_data(changed)
            reason = may_change_metrics(changed, now["device"])
            within = f"equal within {self.tolerance:g}, since {reason}"
            start = "" if changed else "nothing differs: "
            print_to_stdout(f"{start}metrics must be {within if reason else 'identical'}")
            print_to_stdout(*answer().split("\n"))
        results = folder / RESULTS
        comparison = Comparison(was, Measured.of(results), self.tolerance if reason else None)
        _write(results, past.name, changed, comparison)
        print_to_stdout(*"\n".join(comparison.lines()).split("\n"))
        return comparison

    def _refuse_other_data(self, changed: "list[Difference]") -> None:
        of_data = [each.field for each in changed if each.field.endswith(".fingerprint")]
        if of_data and self.other_data == "refuse":
            raise InputError(
                f"a run must be repeated on its own data, but {' and '.join(of_data)} differ; "
                "restore the original data, give data.path=…, or set task.other_data=compare"
            )


# --- what is repeated -----------------------------------------------------------------------------


def _unpacked(bundle: Path, job: Job, folder: Path, row: str | None) -> "list[PastRun]":
    """The runs of a bundle, none of whose configurations names what the user does not trust."""
    from recsweep.runs.bundle import unpack_bundle
    from recsweep.runs.past_run import PastRun

    runs: list[PastRun] = []
    labels: Counter[str] = Counter()
    for name, folders in unpack_bundle(bundle, folder, row).items():
        for results in folders:
            config = PastRun(f"row {name}", results).config(job.trusted, job.config)
            label = f"{name}, seed {config.get('seed')}"
            labels[label] += 1
            runs.append(PastRun(label + f" ({labels[label]})" * (labels[label] > 1), results))
    return runs


def _repeat(
    past: "PastRun", job: Job, environment: dict[str, str], folder: Path, *, is_bundled: bool
) -> Repeat:
    """The run's configuration, with the current paths of files."""
    from recsweep.run_files import read_overrides
    from recsweep.runs.past_run import with_files, without_files

    config = past.config(job.trusted, job.config)
    past.settings(config)
    config = with_files(without_files(config) if is_bundled else config, job)
    keys = {text: re.split(r"[@=]", text.lstrip("+~"))[0] for text in job.overrides}
    unused = [
        text
        for text, key in keys.items()
        if key.partition(".")[0] not in OF_NOW and key not in PLACES
    ]
    if unused:
        log.warning("task=reproduce uses the run's own settings: ignoring %s", ", ".join(unused))
    overrides = read_overrides(past.results)
    return Repeat(past.name, config, folder, overrides, environment, job.settings.fetch)


# --- the fresh process ----------------------------------------------------------------------------


@contextmanager
def _fresh_process(work: Callable[..., None], repeat: Repeat) -> Iterator[Callable[[], Any]]:
    """A new interpreter that runs `work(connection, repeat)`.

    Yields:
        Waits for the next answer and returns it; the process continues on each call.
    """
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=work, args=(there, repeat))
    process.start()
    there.close()

    def answer() -> Any:
        try:
            here.send("continue")
            found = here.recv()
        except (EOFError, BrokenPipeError):
            process.join()
            raise InputError(
                "the process of the repeated run ended with exit code "
                f"{process.exitcode}; see above, and check whether memory ran out"
            ) from None
        if isinstance(found, InputError):
            raise found
        return found

    try:
        yield answer
    except BaseException:
        process.kill()
        raise
    finally:
        process.join()


def _train_again(parent: Connection, repeat: Repeat) -> None:
    """Answer with the environment, then train and answer with the printed output."""
    from recsweep.data.download import downloads
    from recsweep.tracking import NullTracker
    from recsweep.training import layout

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    said = StringIO()
    try:
        of_run = layout.of_tags(repeat.environment)
        with layout.use(of_run), downloads(are_allowed=repeat.may_fetch):
            parent.recv()
            parent.send(_environment(repeat))
            parent.recv()
            with redirect_stdout(said):
                app.run(repeat.config, repeat.folder, repeat.overrides, NullTracker())
            parent.send(said.getvalue())
    except InputError as error:
        parent.send(error)
    except (EOFError, BrokenPipeError):  # the parent is gone
        return


def _environment(repeat: Repeat) -> dict[str, str]:
    """The environment of the repeat; prepares the data and loads the backend."""
    from recsweep.experiment import Experiment
    from recsweep.runs.past_run import of_another_version
    from recsweep.tracking import NullTracker

    settings = validate(Settings, repeat.config, "")
    is_unusable = partial(of_another_version, repeat.name)
    with _explained(is_unusable):
        for step in app.DATA_STEPS:
            app.build_group(settings, *step)
    with _explained(lambda error: InputError(f"the data of {repeat.name} cannot be read: {error}")):
        split = app.load_split(settings)
    with _explained(is_unusable):
        return Experiment.prepare(settings, NullTracker(), split).tags


@contextmanager
def _explained(explain: Callable[[InputError], InputError]) -> Iterator[None]:
    """Raise what `explain` makes of an InputError that is raised inside."""
    try:
        yield
    except InputError as error:
        raise explain(error) from None


# --- after ----------------------------------------------------------------------------------------


def _write(results: Path, name: str, changed: "list[Difference]", comparison: "Comparison") -> None:
    """Write what was repeated and the outcome, beside the repeat's own results."""
    from recsweep.files import disk_errors_in_one_line, whole_file
    from recsweep.run_files import REPRODUCTION, yaml_text

    content = {
        "run": name,
        **comparison.plain(),
        "differences": {each.field: {"was": each.was, "is": each.now} for each in changed},
    }
    file = results / REPRODUCTION
    with disk_errors_in_one_line(file, "hydra.run.dir"), whole_file(file) as out:
        out.write(yaml_text(content).encode())


def _refuse_changes(comparison: "Comparison") -> None:
    """Print the verdict, or raise it as an error."""
    if comparison.verdict == "not reproduced":
        is_exact = comparison.tolerance is None
        raise InputError(
            f"the results of the run are {comparison.summary()}; "
            + ("check what runs do not record, such as a system library" if is_exact else
               "see above what differs, or set task.tolerance")
        )  # fmt: skip
    print_to_stdout(comparison.summary())
