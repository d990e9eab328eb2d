"""What is said about a key that nobody knows."""

from typing import get_type_hints

import pytest

from recsweep.command_help import read_choice
from recsweep.defaults import conf_folder
from recsweep.known_keys import LISTS, unknown_key
from recsweep.sweeps.execution.setup import SweepSettings

KNOWN = [
    "seed", "k", "threads", "data", "data.path", "data.name", "split", "split.seed", "optimizer",
    "optimizer.learning_rate", "model", "model._target_", "model.n_epochs", "model.batch_size",
    "model.dropout_rate", "model.l2", "sweep", "sweep.n_trials", "sweep.n_workers", "task",
    "task.output", "hydra.run.dir",
]  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("epochs", "model.n_epochs"),
        ("model.epochs", "model.n_epochs"),
        ("training.epochs", "model.n_epochs"),
        ("num-epochs", "model.n_epochs"),
        ("lr", "optimizer.learning_rate"),
        ("model.lr", "optimizer.learning_rate"),
        ("learningRate", "optimizer.learning_rate"),
        ("batch_size", "model.batch_size"),
        ("bs", "model.batch_size"),
        ("dropout", "model.dropout_rate"),
        ("model.dropout", "model.dropout_rate"),
        ("model.droput_rate", "model.dropout_rate"),
        ("reg", "model.l2"),
        ("dataset", "data"),
        ("trials", "sweep.n_trials"),
        ("n_trials", "sweep.n_trials"),
        ("sweep.trials", "sweep.n_trials"),
        ("workers", "sweep.n_workers"),
        ("n_jobs", "sweep.n_workers"),
        ("topk", "k"),
        ("K", "k"),
        ("sed", "seed"),
        ("random_state", "seed"),
        ("output", "task.output"),
        ("outptu", "task.output"),
        ("output_dir", "hydra.run.dir"),
        ("n_threads", "threads"),
        ("modl", "model"),
    ],
)
def test_the_key_that_was_meant_is_named(typed: str, meant: str) -> None:
    assert unknown_key(typed, KNOWN) == f"unknown key {typed}; did you mean {meant}?"


def test_a_setting_of_that_name_comes_before_one_that_others_call_so() -> None:
    known = ["optimizer.learning_rate_decay", "model.gamma"]
    assert unknown_key("gamma", known) == "unknown key gamma; did you mean model.gamma?"
    decay = "did you mean optimizer.learning_rate_decay?"
    assert unknown_key("gamma", known[:1]) == f"unknown key gamma; {decay}"
    assert unknown_key("model.gamma", known[:1]) == f"unknown key model.gamma; {decay}"


def test_without_an_idea_what_there_is_is_named() -> None:
    all_keys = "python -m recsweep --help lists all keys"
    assert unknown_key("xyzzy", KNOWN) == f"unknown key xyzzy; {all_keys}"
    others = ["model", "pruner.min_epochs"]
    assert unknown_key("epochs", others) == f"unknown key epochs; {all_keys}", "it has none"
    model = "model has n_epochs, batch_size, dropout_rate, l2"
    assert unknown_key("model.xyzzy", KNOWN) == f"unknown key model.xyzzy; {model}"
    of_ease = ["model.l2", "pruner.min_epochs"]
    assert unknown_key("model.n_epochs", of_ease) == "unknown key model.n_epochs; model has l2"
    assert unknown_key("seed.xyzzy", KNOWN) == "unknown key seed.xyzzy; seed has no settings"


def test_the_settings_that_are_lists_are_those_of_the_yaml_files_and_of_the_search() -> None:
    folders = ["", "model", "data", "split", "optimizer", "sampler", "pruner", "tracking"]
    of_yaml = {
        setting.key
        for folder in folders  # others repeat these keys, or cannot be searched: tasks
        for file in (conf_folder() / folder).glob("*.yaml")
        for setting in read_choice(file, folder).settings
        if setting.default.startswith("[")
    }
    kinds = get_type_hints(SweepSettings)
    of_sweep = {f"sweep.{name}" for name, kind in kinds.items() if "list[" in str(kind)}
    assert {*LISTS} == of_yaml | of_sweep | {"metrics"}, "metrics is a group with several choices"
