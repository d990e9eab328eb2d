"""Configurations with other values, and overrides and search spaces that are damaged as text."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fuzz.cases import PLAIN, changed_tree, damaged, hold
from hypothesis import strategies as st

from recsweep import app
from recsweep.api import load_config
from recsweep.build import build
from recsweep.command_line import groups
from recsweep.sweeps.space.dimension import dimension, parse
from recsweep.sweeps.space.model_overrides import of_some_models, overrides_by_model

pytestmark = pytest.mark.fuzz

BUILT = (
    "model",
    "optimizer",
    "data",
    "transform",
    "split",
    "sampler",
    "pruner",
    "tracking",
    "task",
)
OVERRIDES = [
    "model=multivae", "model.beta=0.3", "model.hidden_dims=[600,200]", "data=csv",
    "data.path='my clicks.csv'", "data.user_column=customer_id", "k=[5,10]", "objective=ndcg@10",
    "optimizer=sgd", "+optimizer.momentum=0.9", "~metrics", "metrics=[ndcg,recall]", "seed=7",
    "sweep.storage=sqlite:///studies.db", "trust=[mymodels]", "study=my-study", "split=kfold",
    "experiment=liang2018", "model.l2=${optimizer.learning_rate}", "threads=null", "cache_dir=here",
    "model.l2@ease=20", "tracking.uri=http://127.0.0.1:5000", "hydra.job.name=other",
]  # fmt: skip
SEARCHES = [
    "model.beta=interval(0.0,1.0)", "model.l2=tag(log,interval(1e-8,1e-3))",
    "model.latent_dim=choice(50,100,200)", "model.n=int(interval(1,4))", "model.a=1,[2,3],null",
    "model.b=range(0.1,0.4,0.1)", "optimizer=adam,sgd", "model.c=shuffle(1,2,3)",
    "model.d=sort(3,1,2)", "model.e=glob(*)", "model.f={a:1},{a:2}", "model.g='x,y','z'",
]  # fmt: skip


def as_text(content: bytes) -> str:
    """An argument as Python has it, whatever bytes were typed."""
    return content.decode("utf-8", "surrogateescape").replace("\0", "")


def typed(originals: list[str]) -> st.SearchStrategy[str]:
    """One of these arguments with damage."""
    return damaged(*(text.encode() for text in originals)).map(as_text)


@cache
def composed(model: str) -> dict[str, Any]:
    return load_config(f"model={model}", "data=synthetic")


def read(config: Any) -> None:
    """What a run checks of its configuration before it reads any data."""
    settings = app.check_settings(config)
    for group in BUILT:
        build(getattr(settings, group), group)


def with_other_values() -> st.SearchStrategy[Any]:
    """A model's configuration in which some values are other, gone or renamed.

    The classes stay: a command line may name any, and runs it.
    """
    models = groups()["model"]
    known = set().union(*(targets(composed(name)) for name in models))
    trees = st.sampled_from(models).flatmap(lambda name: changed_tree(composed(name)))
    return trees.filter(lambda tree: isinstance(tree, Mapping) and targets(tree) <= known)


def targets(node: Any) -> set[str]:
    """The classes that a configuration names."""
    if isinstance(node, Mapping):
        own = {repr(node["_target_"])} if "_target_" in node else set()
        return own.union(*map(targets, node.values()))
    return set().union(*map(targets, node)) if isinstance(node, list | tuple) else set()


def test_a_configuration_with_other_values_is_built_or_refused(tmp_path: Path) -> None:
    hold(with_other_values(), read, 1_500, tmp_path)


def test_one_setting_of_any_value_is_built_or_refused(tmp_path: Path) -> None:
    def read_with(case: tuple[str, str, Any]) -> None:
        group, choice, value = case
        node = dict(composed(choice)[group])
        for key in sorted(set(node) - {"_target_"}):
            build({**node, key: value}, group)

    cases = st.tuples(st.sampled_from(BUILT), st.sampled_from(groups()["model"]), PLAIN)
    hold(cases, read_with, 600, tmp_path)


def test_a_damaged_override_is_composed_or_refused(tmp_path: Path) -> None:
    def compose(arguments: list[str]) -> None:
        read(load_config(*arguments, "data=synthetic"))

    plain = typed(OVERRIDES).filter(lambda text: not text.startswith("-"))
    hold(st.lists(plain, min_size=1, max_size=2), compose, 200, tmp_path)


def test_a_damaged_search_is_a_dimension_or_refused(tmp_path: Path) -> None:
    hold(typed(SEARCHES), lambda line: str(dimension(line)), 2_000, tmp_path)


def test_damaged_overrides_of_some_models_are_divided_or_refused(tmp_path: Path) -> None:
    keys = {"ease": {"model.l2"}, "multivae": {"model.l2", "model.beta"}}

    def divide(arguments: list[str]) -> None:
        of_some_models(arguments)
        overrides_by_model([parse(line) for line in arguments], list(keys), keys.__getitem__)

    lines = ["model.l2=1,2", "model.l2@ease=interval(1,9)", "model.beta@multivae=0.2", "seed=1"]
    hold(st.lists(typed(lines), max_size=3), divide, 600, tmp_path)
