"""Runs the contracts on every model and, where it matters, on both backends."""

import os
import subprocess
import sys
from pathlib import Path

import contracts
import pytest

from recsweep.data.split import Split
from recsweep.defaults import conf_folder
from recsweep.interfaces import Recommender

FILES = sorted((conf_folder() / "model").glob("*.yaml"))
if os.environ["KERAS_BACKEND"] == "tensorflow":  # a closed form is the same on both
    FILES = [file for file in FILES if "${optimizer}" in file.read_text(encoding="utf-8")]
MODELS = [*(file.stem for file in FILES), *contracts.VARIANTS]
LEAST_GAIN = {"popularity": 1.05}  # it ignores taste; everything else must use it


@pytest.fixture(scope="module")
def split() -> Split:
    return contracts.planted_split()


@pytest.fixture(scope="module", params=contracts.each_model(MODELS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(name: str, split: Split) -> Recommender:
    return contracts.fitted(contracts.small_spec(name), split.train)


def test_scores_are_finite_and_of_the_right_shape(model: Recommender, split: Split) -> None:
    contracts.assert_scores_are_finite_and_of_the_right_shape(model, split.valid.history)
    contracts.assert_an_empty_history_and_an_empty_request_are_scored(model, split.train.shape[1])


def test_a_users_scores_do_not_depend_on_the_batch(model: Recommender, split: Split) -> None:
    contracts.assert_a_users_scores_do_not_depend_on_the_batch(model, split.valid.history)


def test_the_same_seed_gives_the_same_scores(name: str, split: Split) -> None:
    contracts.assert_the_same_seed_gives_the_same_scores(
        contracts.small_spec(name, n_epochs=3), split
    )


def test_another_trial_in_between_changes_nothing(name: str, split: Split) -> None:
    spec = contracts.small_spec(name, n_epochs=3)
    contracts.assert_another_trial_in_between_changes_nothing(spec, split)


def test_the_state_has_the_shapes_that_the_model_states(model: Recommender, split: Split) -> None:
    contracts.assert_the_state_has_the_shapes_that_the_model_states(model, split.train.shape[1])


def test_a_model_that_was_tampered_with_is_refused_in_one_line(
    name: str, model: Recommender, split: Split, tmp_path: Path
) -> None:
    """Kinds of tampering are in one test each model, since saving takes longer than refusing."""
    contracts.assert_tampered_folders_are_refused(
        model, contracts.small_spec(name), split.item_ids, tmp_path
    )


def test_saved_and_restored_scores_are_the_same(
    name: str, model: Recommender, split: Split, tmp_path: Path
) -> None:
    spec = contracts.small_spec(name)
    contracts.assert_saved_and_restored_scores_are_the_same(model, spec, split, tmp_path)


def test_widths_beyond_memory_are_refused(name: str, split: Split) -> None:
    contracts.assert_widths_beyond_memory_are_refused(contracts.small_spec(name), split.train)


def test_inputs_are_untouched(name: str, split: Split) -> None:
    contracts.assert_inputs_are_untouched(contracts.small_spec(name, n_epochs=2), split)


def test_a_planted_pattern_is_learned(name: str, model: Recommender, split: Split) -> None:
    contracts.assert_a_planted_pattern_is_learned(model, split, LEAST_GAIN.get(name, 2.0))


def test_it_stops_when_told_to(name: str, split: Split) -> None:
    contracts.assert_it_stops_when_told_to(contracts.small_spec(name), split.train)


def test_scoring_before_fitting_is_refused(name: str, split: Split) -> None:
    contracts.assert_scoring_before_fitting_is_refused(contracts.small_spec(name), split.train)


def test_a_loss_goes_with_its_training_names(name: str, split: Split) -> None:
    contracts.assert_a_loss_goes_with_its_training_names(contracts.small_spec(name), split)


@pytest.mark.extended
@pytest.mark.skipif(os.environ["KERAS_BACKEND"] == "tensorflow", reason="is that very run")
def test_every_contract_holds_on_tensorflow_too() -> None:
    """One process has one backend, so the same tests run in another one."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "", __file__],
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
