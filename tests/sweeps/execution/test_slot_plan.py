"""How many slots suit a search, and how wide their networks are."""

from pathlib import Path
from typing import Any

import pytest
from contracts import composed
from small_runs import SMALL_DATA

from recsweep.sweeps.execution.slot_plan import MOST_SLOTS, most_slots, widest
from recsweep.sweeps.space.branch import Branch
from recsweep.sweeps.space.dimension import dimension
from recsweep.sweeps.space.space import Space

GIB = 1 << 30
MULTIVAE, SHALLOW = "recsweep.models.multivae.MultiVAE", "recsweep.models.shallow_ae.ShallowAE"


@pytest.fixture
def branch(tmp_path: Path) -> Any:
    def make(*search: str, model: str = "multivae") -> Branch:
        config = dict(composed(f"model={model}", f"cache_dir={tmp_path}/cache", *SMALL_DATA))
        return Branch({}, config, {line.partition("=")[0]: dimension(line) for line in search})

    return make


def test_the_widest_is_the_largest_that_is_searched_or_the_models_own(branch: Any) -> None:
    searched = branch("model.latent_dim=choice(50,400,100)", "model.beta=interval(0.0,1.0)")
    assert widest(Space((searched,))) == {MULTIVAE: {"latent_dim": 400}}
    assert widest(Space((branch(),))) == {MULTIVAE: {"latent_dim": 200}}
    ranged = branch("model.latent_dim=int(tag(log,interval(16,64)))")
    assert widest(Space((ranged,))) == {MULTIVAE: {"latent_dim": 64}}


def test_models_are_as_wide_as_their_own_search_says(branch: Any) -> None:
    shallow = branch("model.latent_dim=choice(8,32)", model="shallow_ae")
    closed = branch("model.l2=choice(1.0,2.0)", model="ease")
    found = widest(Space((branch("model.latent_dim=choice(8,300)"), shallow, closed)))
    assert found == {MULTIVAE: {"latent_dim": 300}, SHALLOW: {"latent_dim": 32}}


@pytest.mark.parametrize(
    "search",
    [
        ("model.beta=interval(0.0,1.0)", "model.latent_dim=choice(50,400)"),
        ("model.l2=interval(0.0,1.0)", "optimizer.learning_rate=tag(log,interval(0.001,0.1))"),
        ("model.dropout_rate=interval(0.1,0.5)", "model.beta_warmup_steps=choice(0,10)"),
        ("model.hidden_dims=choice([600],[300])",),
    ],
)
def test_what_reaches_a_step_as_an_input_needs_no_program_of_its_own(
    branch: Any, search: tuple[str, ...]
) -> None:
    assert most_slots(Space((branch(*search),)), 3500, 64, 60 * GIB) == MOST_SLOTS


@pytest.mark.parametrize(
    "search", ["model.batch_size=range(50,500,50)", "model.batch_size=int(interval(50,500))"]
)
def test_a_search_that_needs_many_programs_has_one_slot(branch: Any, search: str) -> None:
    assert most_slots(Space((branch(search),)), 3500, 64, 60 * GIB) == 1


def test_slots_fit_into_the_memory_and_are_no_more_than_the_trials(branch: Any) -> None:
    space = Space((branch("model.latent_dim=choice(50,200)"),))
    assert most_slots(space, 3500, 5, 60 * GIB) == 5
    # 4.4 million weights in 6 copies are 106 MB, 8 batches of 100 users 11 MB
    assert most_slots(space, 3500, 64, GIB) == 5
    assert most_slots(space, 3500, 64, GIB // 100) == 1


def test_a_closed_form_has_one_slot(branch: Any) -> None:
    space = Space((branch("model.l2=interval(1.0,2.0)", model="ease"),))
    assert most_slots(space, 3500, 64, 60 * GIB) == 1
