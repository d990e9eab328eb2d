"""Carries requests to stop from a command to the study, and from the study to the command.

Ctrl-C is typed by a person who means the sweep, so that it stops the study's workers on all hosts.
Other signals come from a scheduler that wants one host back, and stop that host alone.
"""

import socket
import threading
import time
from contextlib import suppress
from typing import Self

import optuna

from recsweep.sweeps.execution.interrupt import CTRL_C, StopRequest
from recsweep.sweeps.study.shared_study import Plan
from recsweep.sweeps.study.stop_requests import NO_MORE, STOP, StopListener, request

POLL_S = 0.2
LAST_WORD_S = 10.0
"""How long the end of a command waits for an unresponsive storage."""


class StopRelay:
    """A thread that talks to the storage, which a signal's handler must not do.

    Args:
        stop: This command's own request; set when another host's arrives.
        study: The study.
        plan: The command's plan.
    """

    def __init__(self, stop: StopRequest, study: optuna.Study, plan: Plan) -> None:
        self._stop, self._study, self._plan = stop, study, plan
        self._listener = StopListener(study, plan.stops)
        self._told: set[str] = set()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stop relay", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Forward a stop request that arrived late."""
        self._is_over.set()
        self._thread.join(LAST_WORD_S)

    def look(self) -> str | None:
        """Look at the storage now, as workers that have just returned may have done.

        Returns:
            Why this command should start no more trials; None = it may.
        """
        fresh = StopListener(self._study, self._plan.stops)
        self._listen(fresh)
        return fresh.reason(NO_MORE) if self._plan.workers_only else self._stop.reason

    def _watch(self) -> None:
        is_over = False
        while not is_over:
            is_over = self._is_over.wait(POLL_S)
            with suppress(Exception):  # the storage may be back next time
                self._tell()
                self._listen(self._listener)

    def _tell(self) -> None:
        if self._plan.workers_only:  # it leaves, the sweep continues
            return
        here, deadline = socket.gethostname(), self._plan.deadline
        if self._stop.reason == CTRL_C:
            self._tell_once(STOP, f"{CTRL_C} on {here}")
        if deadline is not None and time.time() > deadline:
            self._tell_once(NO_MORE, f"sweep.timeout on {here}")

    def _tell_once(self, kind: str, reason: str) -> None:
        if kind not in self._told:
            request(self._study, kind, reason)
            self._told.add(kind)

    def _listen(self, listener: StopListener) -> None:
        if self._stop.reason is None and (reason := listener.reason(STOP)):
            self._stop.hear(reason)
