"""Requests to stop, kept in the study so that workers on every host hear them.

A request counts up; whoever starts after it has the new count, so that no clocks are compared.
"""

import time
from collections.abc import Mapping

import optuna

STOP, NO_MORE = "stop", "no_more_trials"
"""Attributes of a study: stop after the current epoch (Ctrl-C), or finish the current trials and
begin no more (`sweep.timeout`, `sweep.max_failures`); each with its count `n` and the last
`reason`."""
KINDS = (STOP, NO_MORE)
EVERY_S = 2.0


def request(study: optuna.Study, kind: str, reason: str) -> None:
    """Ask all who work on a study now.

    Args:
        study: The study.
        kind: `STOP` or `NO_MORE`.
        reason: Such as `Ctrl-C on HOST`.
    """
    study.set_user_attr(kind, {"n": counts(study)[kind] + 1, "reason": reason})


def counts(study: optuna.Study) -> dict[str, int]:
    """The requests so far, by kind."""
    noted = study.user_attrs
    return {kind: noted.get(kind, {}).get("n", 0) for kind in KINDS}


class StopListener:
    """Hears requests that are made from now on.

    Args:
        study: The study.
        before: The requests that were made before, see `counts`.
        every_s: Seconds between two looks at the storage.
    """

    def __init__(
        self, study: optuna.Study, before: Mapping[str, int], every_s: float = EVERY_S
    ) -> None:
        self._study, self._before, self._every_s = study, before, every_s
        self._heard: dict[str, str] = {}
        self._next_look = 0.0

    def reason(self, kind: str) -> str | None:
        """The reason of a request of this kind; None = there is none."""
        if kind not in self._heard and time.monotonic() >= self._next_look:
            self._look()
            self._next_look = time.monotonic() + self._every_s
        return self._heard.get(kind)

    def _look(self) -> None:
        try:
            noted = self._study.user_attrs
        except Exception:  # noqa: BLE001 - the storage may be back at the next look
            return
        for kind in KINDS:
            request = noted.get(kind, {})
            if request.get("n", 0) > self._before.get(kind, 0):
                self._heard[kind] = str(request["reason"])
