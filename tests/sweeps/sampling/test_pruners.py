"""Planted curves are pruned as they should, twice alike, and across a death."""

import math
from typing import Any

import numpy as np
import optuna
import pytest
import yaml
from optuna.pruners import BasePruner
from optuna.storages import InMemoryStorage
from optuna.trial import Trial, TrialState

from recsweep.build import build
from recsweep.defaults import conf_folder
from recsweep.errors import InputError
from recsweep.sweeps.sampling.pruners import AsyncHyperband, Pruner, falls_behind

N_TRIALS, N_EPOCHS = 30, 60
NAMES = ["hyperband", "median", "wilcoxon"]


def pruner(name: str, **changes: float) -> Pruner:
    text = (conf_folder() / "pruner" / f"{name}.yaml").read_text(encoding="utf-8")
    made: Pruner = build({**yaml.safe_load(text), **changes}, "pruner")
    return made


def curves(seed: int = 0) -> np.ndarray:
    """Trials × epochs: NDCG that rises to a level of its own, good levels in no order."""
    random = np.random.default_rng(seed)
    levels = 0.43 - np.abs(random.normal(0, 0.02, N_TRIALS))
    speeds = random.uniform(8, 12, N_TRIALS)
    rise = 1 - 0.45 * np.exp(-np.arange(1, N_EPOCHS + 1) / speeds[:, None])
    noise: np.ndarray = random.normal(0, 0.0007, (N_TRIALS, N_EPOCHS))
    return levels[:, None] * rise + noise


def made_study(
    made: BasePruner, direction: str = "maximize", storage: InMemoryStorage | None = None
) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(
        storage=storage, study_name="s", direction=direction, pruner=made, load_if_exists=True
    )


def last_epoch(trial: Trial, curve: np.ndarray) -> int | None:
    """After which epoch the trial is pruned; None = it is not."""
    for epoch, value in enumerate(curve, 1):
        trial.report(float(value), epoch)
        if trial.should_prune():
            return epoch
    return None


def tell(study: optuna.Study, number: int, curve: np.ndarray, pruned: int | None) -> None:
    if pruned is None:
        study.tell(number, float(curve.max()))
    else:
        study.tell(number, state=TrialState.PRUNED)


def decisions(study: optuna.Study, all_curves: np.ndarray) -> list[int | None]:
    found = []
    for number, curve in enumerate(all_curves):
        found.append(last_epoch(study.ask(), curve))
        tell(study, number, curve, found[-1])
    return found


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("choice", [*NAMES, "none"])
@pytest.mark.parametrize("n_epochs", [1, 2, 9])
def test_a_closed_form_and_a_short_training_run_to_their_end(choice: str, n_epochs: int) -> None:
    study = made_study(pruner(choice).make(n_epochs))
    assert decisions(study, curves()[:, :n_epochs]) == [None] * N_TRIALS


@pytest.mark.parametrize("n_epochs", [11, 100])
def test_a_longer_training_is_pruned_by_recsweeps_hyperband(n_epochs: int) -> None:
    assert isinstance(pruner("hyperband", min_epochs=10).make(n_epochs), AsyncHyperband)
    as_long = pruner("hyperband", min_epochs=n_epochs).make(n_epochs)
    assert isinstance(as_long, optuna.pruners.NopPruner)


def test_no_choice_is_forgotten_here() -> None:
    assert {f.stem for f in (conf_folder() / "pruner").glob("*.yaml")} == {*NAMES, "none"}


def test_none_prunes_nothing() -> None:
    assert decisions(made_study(pruner("none").make(N_EPOCHS)), curves()) == [None] * N_TRIALS


def test_the_same_curves_are_pruned_the_same_twice(name: str) -> None:
    first, second = (decisions(made_study(pruner(name).make(N_EPOCHS)), curves()) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("seed", range(3))
def test_bad_trials_are_pruned_and_the_winner_is_good(name: str, seed: int) -> None:
    found = decisions(made_study(pruner(name).make(N_EPOCHS)), curves(seed))
    is_pruned = np.array([epoch is not None for epoch in found])
    best = curves(seed).max(axis=1)
    bad = np.argsort(best)[: N_TRIALS // 2]
    assert is_pruned[bad].mean() >= 1 / 3
    assert best[~is_pruned].max() > best.max() - 0.01  # half of the levels' spread
    assert found[0] is None


def test_hyperbands_defaults_prune_about_half_of_what_multivae_shows() -> None:
    shares = []
    for seed in range(10):
        made = pruner("hyperband").make(100)
        found = decisions(made_study(made), curves(seed))
        shares.append(np.mean([epoch is not None for epoch in found]))
    assert 0.4 < np.mean(shares) < 0.7
    assert min(shares) >= 1 / 3


@pytest.mark.parametrize("first_epoch", [4, 12, 36])
def test_a_bracket_is_optunas_successive_halving(first_epoch: int) -> None:
    ours = AsyncHyperband(min_epochs=4, n_epochs=N_EPOCHS, reduction_factor=3)
    number = next(n for n in range(N_TRIALS) if ours.comparisons(n)[0] == first_epoch)
    bracket = [4, 12, 36].index(first_epoch)
    theirs = optuna.pruners.SuccessiveHalvingPruner(
        min_resource=4, reduction_factor=3, min_early_stopping_rate=bracket
    )
    rising = np.maximum.accumulate(curves(), axis=1)  # the latest epoch is the best one
    found = decisions(made_study(ours), rising)
    of_this_bracket = [
        n for n in range(N_TRIALS) if ours.comparisons(n) == ours.comparisons(number)
    ]
    expected = decisions(made_study(theirs), rising[of_this_bracket])
    assert [found[n] for n in of_this_bracket] == expected
    assert None in expected


def test_hyperband_compares_best_epochs_as_a_trials_value_does() -> None:
    """A trial that was best before the comparison would win if it were not pruned."""
    early = np.r_[np.linspace(0.1, 0.5, 5), np.full(95, 0.3)]
    study = made_study(AsyncHyperband(10, 100, reduction_factor=3))
    others = [np.full(100, value) for value in (0.40, 0.39, 0.38)]
    numbers = [n for n in range(17) if study.pruner.comparisons(n)[0] == 10][:4]  # type: ignore[attr-defined]
    all_curves = [np.full(100, 0.2)] * 17
    for number, curve in zip(numbers, [*others, early], strict=True):
        all_curves[number] = curve
    found = decisions(study, np.array(all_curves[: numbers[-1] + 1]))
    assert found[numbers[-1]] is None


def test_hyperband_compares_with_trials_that_stopped_early() -> None:
    study = made_study(AsyncHyperband(10, 100, reduction_factor=3))
    numbers = [n for n in range(17) if study.pruner.comparisons(n)[0] == 10][:2]  # type: ignore[attr-defined]
    for number in range(numbers[1] + 1):
        is_early = number == numbers[0]
        trial, curve = study.ask(), np.full(8 if is_early else 100, 0.5 if is_early else 0.4)
        assert last_epoch(trial, curve) == (10 if number == numbers[1] else None)
        tell(study, number, curve, None if number != numbers[1] else 10)


def test_hyperbands_paces_take_turns_with_hyperbands_shares() -> None:
    made = AsyncHyperband(min_epochs=10, n_epochs=100, reduction_factor=3)
    first = [made.comparisons(number)[0] for number in range(17)]
    assert [first.count(epoch) for epoch in (10, 30, 90)] == [9, 5, 3]  # ⌈3 · 3^s / (s + 1)⌉
    assert set(first[:4]) == {10, 30, 90}
    assert made.comparisons(17) == made.comparisons(0) == [10, 30, 90]


def test_hyperband_reads_other_trials_only_at_epochs_of_comparisons(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study, epochs = made_study(AsyncHyperband(4, 100, reduction_factor=3)), list[int]()
    trial, get_trials = study.ask(), optuna.Study.get_trials

    def noted(self: optuna.Study, **options: Any) -> Any:
        epochs.append(epoch)
        return get_trials(self, **options)

    monkeypatch.setattr(optuna.Study, "get_trials", noted)
    for epoch in range(1, 101):
        trial.report(0.5, epoch)
        assert not trial.should_prune()
    assert epochs == [4, 12, 36]


def test_what_is_minimised_is_pruned_when_it_is_high() -> None:
    up = decisions(made_study(pruner("hyperband").make(N_EPOCHS)), curves())
    down = decisions(made_study(pruner("hyperband").make(N_EPOCHS), "minimize"), -curves())
    assert up == down != [None] * N_TRIALS


@pytest.mark.extended
def test_a_trial_that_outlives_the_best_one_is_no_warning() -> None:
    study = made_study(pruner("wilcoxon").make(N_EPOCHS))
    longer = np.linspace(0.30, 0.42, 40)
    assert last_epoch(study.ask(), longer[:20] - 0.01) is None
    study.tell(0, float(longer[19] - 0.01))
    assert last_epoch(study.ask(), longer) is None


@pytest.mark.parametrize("is_asked", [False, True])
def test_a_trial_that_begins_again_is_pruned_as_if_nothing_had_happened(
    name: str, is_asked: bool
) -> None:
    """The process dies after reporting an epoch, before or after it asked about it."""
    expected = decisions(made_study(pruner(name).make(N_EPOCHS)), curves())
    storage = InMemoryStorage()
    for number, curve in enumerate(curves()):
        study = made_study(pruner(name).make(N_EPOCHS), storage=storage)
        died_at = expected[number] or 1 + number % N_EPOCHS
        first_life = study.ask()
        for epoch in range(1, died_at + 1):
            first_life.report(float(curve[epoch - 1]), epoch)
            is_pruned = is_asked and first_life.should_prune()
            assert not is_pruned or epoch == expected[number]
        study = made_study(pruner(name).make(N_EPOCHS), storage=storage)
        found = second_life(Trial(study, study.get_trials()[number]._trial_id), curve)
        tell(study, number, curve, found)
        assert found == expected[number]


def second_life(trial: Trial, curve: np.ndarray) -> int | None:
    """What a caller has to do: neither report nor ask about an epoch that was outlived."""
    reached = max(trial.storage.get_trial(trial._trial_id).intermediate_values)
    for epoch, value in enumerate(curve, 1):
        if epoch > reached:
            trial.report(float(value), epoch)
        if epoch >= reached and trial.should_prune():
            return epoch
    return None


def test_a_setting_out_of_range_is_one_line() -> None:
    with pytest.raises(InputError, match=r"pruner\.reduction_factor must be at least 2"):
        pruner("hyperband", reduction_factor=1)
    with pytest.raises(InputError, match=r"pruner\.p_threshold must be above 0 and below 1"):
        pruner("wilcoxon", p_threshold=math.pi)


# --- replicates ----------------------------------------------------------------------------------


def after_replicates(made: Pruner, *trials: list[float], n: int = 5, sign: int = 1) -> bool:
    """Whether the last trial is pruned; the ones before are complete."""
    study = made_study(optuna.pruners.NopPruner(), "maximize" if sign > 0 else "minimize")
    for values in trials:
        is_last = values is trials[-1]
        study.add_trial(
            optuna.create_trial(
                state=TrialState.RUNNING if is_last else TrialState.COMPLETE,
                value=None if is_last else float(np.mean(values)),
                user_attrs={"replicates": values},
                intermediate_values={1: 9.0},  # epochs say nothing about replicates
            )
        )
    return falls_behind(made, n, study, len(trials) - 1)


def test_a_mean_below_the_median_after_as_many_replicates_is_pruned() -> None:
    """Medians of the others after 1, 2 replicates: 0.40, 0.50."""
    made = pruner("median", n_startup_trials=3)
    others = [0.4, 0.6, 0.1], [0.3, 0.5, 0.9], [0.5, 0.7, 0.3]
    assert after_replicates(made, *others, [0.39])
    assert not after_replicates(made, *others, [0.41])
    assert after_replicates(made, *others, [0.45, 0.5]), "its mean is 0.475, though 0.5 is as good"
    assert after_replicates(made, *others, [0.6, 0.39]), "nor does its best mean so far count"
    assert not after_replicates(made, *others, [0.35, 0.66])
    assert not after_replicates(made, *others[:2], [0.1]), "two complete trials say nothing yet"
    minima = pruner("median", n_startup_trials=3)
    assert after_replicates(minima, *others, [0.41], sign=-1)


def test_hyperband_compares_means_after_three_of_five_but_not_after_one() -> None:
    made = pruner("hyperband")
    others = [0.4] * 5, [0.5] * 5, [0.6] * 5
    for n_done in (1, 2, 4):
        assert not after_replicates(made, *others, [0.1] * n_done)
    assert after_replicates(made, *others, [0.59] * 3)
    assert not after_replicates(made, *others, [0.9, 0.9, 0.05])  # mean 0.617
    assert not after_replicates(made, *others, [0.1] * 3, n=3), "which are all"


def test_wilcoxon_compares_fold_by_fold() -> None:
    """With n pairs that all are worse p = 1/2ⁿ: 1/16 after four, 1/32 after five."""
    best = [0.50, 0.60, 0.40, 0.70, 0.50, 0.60]
    worse = [value - 0.01 * place for place, value in enumerate(best, 1)]
    made = pruner("wilcoxon", p_threshold=0.1)
    assert after_replicates(made, best, worse[:4], n=6)
    assert not after_replicates(made, best, worse[:3], n=6)
    assert not after_replicates(pruner("wilcoxon"), best, worse[:4], n=6)
    assert after_replicates(pruner("wilcoxon"), best, worse[:5], n=6)


def test_none_and_a_pruner_of_ones_own_stop_no_trial_between_replicates() -> None:
    class Own(Pruner):
        def make(self, n_epochs: int) -> BasePruner:  # noqa: ARG002
            return optuna.pruners.ThresholdPruner(lower=1.0)

    for made in (pruner("none"), Own()):
        assert not after_replicates(made, [0.5] * 5, [0.5] * 5, [0.5] * 5, [0.0] * 3)
