"""Prints the command that reproduces the winner of a study."""

from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from recsweep.app import Job
from recsweep.errors import InputError
from recsweep.interfaces import STRICT
from recsweep.messages import alike, print_to_stderr, print_to_stdout, suggest
from recsweep.shell import command

if TYPE_CHECKING:
    from recsweep.sweeps.study.catalog import StudyCatalog


@dataclass(kw_only=True, config=STRICT)
class Best:
    """Show how to retrain the winner as a single run."""

    def run(self, job: Job) -> None:
        """Print the command that trains it: a line, or several with several objectives."""
        from recsweep.sweeps.reporting.result_files import trial_arguments
        from recsweep.sweeps.study.catalog import StudyCatalog

        studies = StudyCatalog.of(job.settings.sweep)
        study, found = studies.load(choose_study(job.settings.study, studies))
        if not found.front:
            raise InputError(
                f"study {found.study} has no complete trial yet ({found.n_finished} of "
                f"{found.n_trials} done); resume it with the command that started it"
            )
        if job.settings.study is None:
            print_to_stderr(f"# study {found.study}")
        for row in found.front:
            if not found.best:
                print_to_stderr(f"# trial {row.number}: {found.format_row(row)}")
            print_to_stdout(command(*trial_arguments(study, row)))


def choose_study(name: str | None, studies: "StudyCatalog") -> str:
    """The study's name, which may be omitted if there is only one.

    Args:
        name: The name given by the user, or None.
        studies: Where to look.

    Raises:
        InputError: There is no study of that name, or there are several and no name was given.
    """
    names, elsewhere = studies.names, studies.in_databases
    if name in elsewhere or (elsewhere and not names):
        which = name or next(iter(elsewhere))
        raise InputError(
            f"study must be one whose trials are in {studies}, but those of {which} are in a "
            f"database; add {elsewhere[which]}"
        )
    if not names:
        raise InputError(
            f"no study found in {studies}; start one with "
            "python -m recsweep -m model=CHOICE, or set sweep.folder or sweep.storage"
        )
    if name is None and len(names) > 1:
        raise InputError(
            f"study must be given when there are several, but is null; {studies} has "
            f"{', '.join(names)}: set study=NAME"
        )
    if name is not None and name not in names:
        close = alike(name, names)
        hint = suggest(" or ".join(close), "task=studies lists them")
        raise InputError(f"study must be one of those in {studies}, but is {name}; {hint}")
    return name or names[0]
