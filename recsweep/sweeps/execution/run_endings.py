"""Final run statuses that are reported to the tracking store."""

from recsweep.interfaces import Part, RunStatus
from recsweep.messages import one_line
from recsweep.sweeps.reporting.trial_record import STATUS
from recsweep.sweeps.study.final_claims import FINAL
from recsweep.sweeps.study.shared_study import SharedStudy, is_untracked


def verdict(study: SharedStudy, part: Part, run_id: str) -> tuple[RunStatus, str] | None:
    """The final status of a run that the tracker considers running; None if it is running.

    Args:
        study: The study.
        part: The trial or the training of the winner that the run belongs to.
        run_id: Of the run.

    Returns:
        Status and reason.
    """
    if part.replicate is not None:
        is_alive = study.is_alive(FINAL + part.replicate)
        return None if is_alive else ("KILLED", "its process died")
    number = part.trial
    is_alive = study.is_alive(number)  # first: the trial may end in between
    trial = next((t for t in study.trials() if t.number == number), None)
    if trial is not None and trial.state.is_finished():
        if is_untracked(trial):
            return "KILLED", "the tracking store was lost; task=upload completes this run"
        if trial.user_attrs.get("run_id") == run_id:
            return STATUS[trial.state], trial.user_attrs.get("reason", "")
    elif is_alive:
        return None
    return "KILLED", "its process died; the trial was restarted in another run"


def ending(error: BaseException) -> tuple[RunStatus, str]:
    """Status and reason of a sweep that was interrupted or failed."""
    if isinstance(error, KeyboardInterrupt):
        return "KILLED", f"stopped by {str(error) or 'Ctrl-C'}"
    return "FAILED", one_line(error)
