"""NaN and infinity: what is not finite is named, with its epoch, for every model."""

from typing import Any

import contracts
import numpy as np
import pytest
import scipy.sparse as sp

from recsweep.build import build
from recsweep.data.split import Split
from recsweep.data.transform import LARGEST, SMALLEST
from recsweep.defaults import conf_folder
from recsweep.divergence import refuse_not_finite, remedy_for, remedy_for_equal_scores
from recsweep.errors import InputError, TrainingDivergedError
from recsweep.evaluation import Evaluator
from recsweep.fitting import FitResult, fit_best_epoch
from recsweep.interfaces import CSR, OnEpoch
from recsweep.seeds import Seeds

FILES = sorted((conf_folder() / "model").glob("*.yaml"))
MODELS = [file.stem for file in FILES]
TRAINED = [file.stem for file in FILES if "optimizer: ${optimizer}" in file.read_text("utf-8")]
BOUNDED = {"recvae"}
"""Its layers' outputs are normalised, so that long steps do no harm."""


@pytest.fixture(scope="module")
def split() -> Split:
    return contracts.planted_split()


def trial(model: Any, split: Split, train: CSR | None = None) -> FitResult:
    evaluator = Evaluator(k=[5], metrics=["ndcg"], batch_size=50, objective=None)
    train = split.train if train is None else train
    return fit_best_epoch(model, train, split.valid, evaluator, Seeds(1))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (np.nan, "is nan"), (-np.inf, "is -inf"), (np.float32("inf"), "is inf"),
        (np.array([[1, 2], [3, np.nan]]), "has NaN or infinity"),
        (np.array([1, -np.inf], np.float32), "has NaN or infinity"),
    ],
)  # fmt: skip
def test_what_is_not_finite_is_named_with_its_epoch(value: Any, found: str) -> None:
    with pytest.raises(TrainingDivergedError) as error:
        refuse_not_finite({"train/loss": 1.0, "train/kl": value}, "do this", 2)
    assert str(error.value) == f"train/kl must be finite, but {found} in epoch 3; do this"
    with pytest.raises(TrainingDivergedError, match=f"^it must be finite, but {found}; do this$"):
        refuse_not_finite({"it": value}, "do this")


def test_finite_numbers_and_what_is_no_number_pass() -> None:
    largest = np.finfo(np.float32).max
    refuse_not_finite(
        {"a": 0.0, "b": np.array([largest, -largest]), "c": np.array(["x"]), "d": np.zeros((0, 3))},
        "", 0,
    )  # fmt: skip


def test_the_remedy_is_a_setting_that_the_model_has() -> None:
    trained, solved, plain = (
        build(contracts.small_spec(name), "model") for name in ("bpr", "ease", "p3alpha")
    )
    assert remedy_for(trained) == "lower optimizer.learning_rate (now 0.01)"
    smaller = "use smaller values, such as with transform=binary"
    assert remedy_for(solved) == f"{smaller}, or raise model.l2 (now 500)"
    assert remedy_for(plain) == smaller


def test_the_remedy_names_a_penalty_that_is_large() -> None:
    rate = "lower optimizer.learning_rate (now 0.01)"
    spec = contracts.small_spec("multivae")
    large = build({**spec, "l2": 1e20, "beta": 1e9}, "model")
    assert remedy_for(large) == f"{rate} or model.l2 (now 1e+20) or model.beta (now 1e+09)"


def test_the_remedy_for_equal_scores_is_every_penalty_that_the_model_has() -> None:
    slim, plain = (build(contracts.small_spec(name), "model") for name in ("slim", "popularity"))
    assert remedy_for_equal_scores(slim) == (
        f"lower model.l1 (now {slim.l1:g}) or model.l2 (now {slim.l2:g})"
    )
    assert remedy_for_equal_scores(plain) == "use more data, or choose another model"


@pytest.mark.parametrize("name", contracts.each_model(MODELS))
def test_weights_that_are_not_finite_are_refused_with_their_epoch(name: str, split: Split) -> None:
    """Whatever a model learns is broken at the end of its second epoch, or of its only one."""
    model = build(contracts.small_spec(name, n_epochs=3), "model")
    fit, broken = model.fit, []

    def broken_fit(train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:
        def breaking(epoch: int, losses: Any) -> bool:
            if epoch == 1 or not hasattr(model, "n_epochs"):
                state = model.state()
                floats = {n: a for n, a in state.items() if np.issubdtype(a.dtype, np.floating)}
                broken.append(epoch + 1)
                model.restore({**state, **{n: np.full_like(a, np.nan) for n, a in floats.items()}})
            return on_epoch(epoch, losses)

        fit(train, breaking, seeds)

    model.fit = broken_fit
    with pytest.raises(TrainingDivergedError) as error:
        trial(model, split)
    line = str(error.value)
    assert f"in epoch {broken[-1]}; " in line
    assert line.startswith("every score must be a finite number, but the model gave NaN")
    assert line.endswith(remedy_for(model))


@pytest.mark.extended
@pytest.mark.parametrize("name", sorted({*TRAINED} - BOUNDED))
def test_a_step_that_is_too_long_names_a_quantity_and_an_epoch(name: str, split: Split) -> None:
    spec = contracts.small_spec(name)
    sgd = contracts.composed("optimizer=sgd")["optimizer"]
    spec["optimizer"] = {**sgd, "learning_rate": 10.0}
    train = split.train.astype(np.float32) * np.float32(1e15)
    with pytest.raises(TrainingDivergedError, match=r"in epoch \d+; .*optimizer\.learning_rate"):
        trial(build({**spec, "l2": 1e3}, "model"), split, train)


@pytest.mark.parametrize("name", contracts.each_model(MODELS))
@pytest.mark.parametrize("value", [SMALLEST, LARGEST])
def test_values_at_the_limits_of_data_give_a_finite_result_or_one_line(
    name: str, value: float, split: Split
) -> None:
    train = sp.csr_matrix(split.train.astype(np.float32))
    train.data[:] = np.float32(value)
    model = build(contracts.small_spec(name, n_epochs=2), "model")
    try:
        fitted = trial(model, split, train)
    except TrainingDivergedError as error:
        line = str(error)
    else:
        line = ""
        assert all(np.isfinite(v) for epoch in fitted.curves for v in epoch.values())
        refuse_not_finite(model.state(), "")
    assert not line or (name in TRAINED and "in epoch" in line), "what is solved takes no steps"


@pytest.mark.parametrize("name", sorted(set(MODELS) - set(TRAINED)))
def test_settings_beyond_float32_are_refused_and_the_largest_work(name: str, split: Split) -> None:
    spec = contracts.small_spec(name)
    for setting, usual in spec.items():
        if not isinstance(usual, float):
            continue
        with pytest.raises(InputError, match=f"^model.{setting} must be .* at most .*1e\\+39"):
            build({**spec, setting: 1e39}, "model")
        bound = next(each for each in (1e30, 10.0, 1.0, 0.999999) if fits(spec, setting, each))
        trial(build({**spec, setting: bound}, "model"), split)  # a warning would be an error


def fits(spec: dict[str, Any], setting: str, value: float) -> bool:
    try:
        build({**spec, setting: value}, "model")
    except InputError:
        return False
    return True


@pytest.mark.parametrize("name", TRAINED)
def test_weights_in_a_loss_and_dropout_rates_fit_into_float32(name: str) -> None:
    spec = contracts.small_spec(name)
    wrong = {"l2": 1e39, "beta": 1e39, "gamma": 1e39, "dropout_rate": 0.9999999999}
    for setting in wrong.keys() & spec.keys():
        with pytest.raises(InputError, match=f"^model.{setting} must be .* at most "):
            build({**spec, setting: wrong[setting]}, "model")
