"""One experiment: checked first, tracked and fitted, refitted when asked for."""

import gc
import io
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from small_runs import SMALL

from recsweep.app import Settings, load_split
from recsweep.build import validate
from recsweep.errors import InputError
from recsweep.experiment import Experiment
from recsweep.tracking import NullTracker

Config = Callable[..., dict[str, Any]]


class Notes(NullTracker):
    """A tracker that notes in what order it hears what."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []

    def log_settings(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        self.heard.append((params["seed"], tags["data"]))

    def log_data(self, name: str, digest: str, profile: Mapping[str, int]) -> None:
        self.heard.append((name, digest, profile["n_items"]))

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:  # noqa: ARG002
        self.heard.append(step)


def settings(config: Config, *overrides: str) -> Settings:
    return validate(Settings, config(*SMALL, *overrides), "")


def test_the_tracker_hears_settings_data_and_each_epoch_before_listeners_do(config: Config) -> None:
    tracker = Notes()
    run = Experiment.prepare(settings(config, "seed=7"), tracker)
    run.log_settings(config(*SMALL, "seed=7"))
    name = run.tags["data"]
    assert tracker.heard == [
        (7, name), (name, run.split.data_fingerprint, run.split.train.shape[1]),
    ]  # fmt: skip
    heard: list[tuple[int, Any]] = []

    def listen(epoch: int, _metrics: Mapping[str, float]) -> bool:
        heard.append((epoch, tracker.heard[-1]))
        return epoch < 1

    fitted = run.fit([listen], io.StringIO())
    assert heard == [(0, 1), (1, 2)], "steps count from 1, and a listener stops the fit"
    assert len(fitted.curves) == 2


def test_progress_goes_where_it_is_sent(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    run, log = Experiment.prepare(settings(config), NullTracker()), io.StringIO()
    run.fit(progress_to=log)
    assert log.getvalue().startswith("epoch ")
    assert capsys.readouterr().err == ""


@pytest.mark.extended
def test_without_refit_the_fit_stays_and_with_it_the_first_model_is_let_go(config: Config) -> None:
    for overrides, is_refitted in (((), False), (("refit=true",), True)):
        run = Experiment.prepare(settings(config, *overrides), NullTracker())
        fitted, first = run.fit(progress_to=io.StringIO()), weakref.ref(run.model)
        after = run.refit(fitted)
        gc.collect()
        assert (first() is None) is is_refitted
        assert (after.refit_s is not None) is is_refitted
        assert after.valid is fitted.valid, "validation chose, and is not scored again"
        assert run.evaluate_on_test().means.keys() == fitted.valid.means.keys()


def test_a_split_that_is_given_is_not_prepared_again(config: Config) -> None:
    own = settings(config)
    split = load_split(own)
    assert Experiment.prepare(own, NullTracker(), split).split is split


def test_a_catalogue_that_is_too_small_is_refused_before_training(config: Config) -> None:
    with pytest.raises(InputError, match=r"^k must not exceed the \d+ items"):
        Experiment.prepare(settings(config, "k=100000"), NullTracker())
