"""What makes a study another one, and how that is said."""

from typing import Any

import pytest

from recsweep.errors import InputError
from recsweep.sweeps.study.identity import is_same, of_config, refuse_difference

IDENTITY: dict[str, Any] = {
    "fixed": ["model=ease"],
    "config": {"seed": 42, "model": {"l2": 500.0, "sizes": [1, 2]}},
    "space": {"model.l2": "interval(1.0,2.0)"},
    "fingerprint": {"data": "aa", "split": "bb"},
    "versions": {"jax": "0.7", "keras": "3"},
}


def changed(**parts: Any) -> dict[str, Any]:
    return {**IDENTITY, **parts}


def complaint(now: dict[str, Any], before: dict[str, Any] = IDENTITY) -> str:
    with pytest.raises(InputError) as caught:
        refuse_difference("mine", before, now)
    line = str(caught.value)
    assert "\n" not in line
    start = "cannot resume study mine: "
    end = "; revert that, or start a new study with study=NAME"
    assert line.startswith(start)
    assert line.endswith(end)
    return line.removeprefix(start).removesuffix(end)


def test_the_same_study_goes_on() -> None:
    refuse_difference("mine", IDENTITY, dict(reversed(IDENTITY.items())))


def test_how_it_was_typed_does_not_matter() -> None:
    refuse_difference("mine", IDENTITY, changed(fixed=["model=ease", "seed=42"]))


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"config": {"seed": 7, "model": {"l2": 500.0, "sizes": [1, 2]}}},
            "seed was 42 and is 7",
        ),
        (
            {"config": {"seed": 42, "model": {"l2": 500.0, "sizes": [1]}}},
            "model.sizes was [1, 2] and is [1]",
        ),
        ({"space": {}}, "space was absent and is {}, space.model.l2 was interval(1.0,2.0) and is "
         "absent"),
        ({"versions": {"jax": "0.8", "keras": "3"}}, "versions.jax was 0.7 and is 0.8"),
        (
            {"fingerprint": {"data": "aa", "split": "cc"}},
            "fingerprint.split was bb and is cc",
        ),
    ],
)  # fmt: skip
def test_another_one_is_refused_by_what_differs(part: dict[str, Any], expected: str) -> None:
    said = complaint(changed(**part))
    assert sorted(said.split(", ")) == sorted(expected.split(", "))


def test_files_may_lie_elsewhere_while_their_content_is_the_same() -> None:
    def placed(path: str, branch: str = "", **fingerprint: str) -> dict[str, Any]:
        files = {"data": {"path": path, "seed": 1}, "split": {"path": f"{path}.test"}}
        prints = {**IDENTITY["fingerprint"], **fingerprint}
        return changed(config={branch: files} if branch else files, fingerprint=prints)

    for branch in ("", "optimizer=adam"):
        before, now = placed("/old/a.csv", branch), placed("b.csv", branch)
        refuse_difference("mine", before, now)
        assert is_same(before, now)
    other = placed("b.csv", data="xx")
    assert not is_same(placed("/old/a.csv"), other)
    said = complaint(other, placed("/old/a.csv"))
    assert said.startswith("data.path was /old/a.csv and is b.csv")


def test_settings_are_named_before_what_follows_from_them() -> None:
    config = {"seed": 42, "model": {"l2": 500.0, "sizes": [1, 2]}, "data": {"seed": 2}}
    now = changed(config=config, fingerprint={"data": "xx", "split": "yy"})
    assert complaint(now) == "data.seed was absent and is 2"


def test_long_lists_and_long_values_are_cut() -> None:
    before = changed(config={f"key{n}": n for n in range(5)})
    now = changed(config={f"key{n}": "x" * 100 for n in range(5)})
    cut = f"{'x' * 59}…"
    expected = [f"key{n} was {n} and is {cut}" for n in range(3)]
    assert complaint(now, before) == f"{', '.join(expected)}, and 2 more"


def test_a_configuration_keeps_what_trials_depend_on() -> None:
    config = {
        "seed": 42, "k": [5], "model": {"l2": 1}, "tracking": {"uri": None}, "cache_dir": "x",
        "trust": ["a"], "fetch": True,
        "debug": True, "study": "x", "task": {}, "search": {}, "sampler": {}, "pruner": {},
        "sweep": {"n_trials": 3, "seed": 1, "try_defaults": True, "storage": "x"},
    }  # fmt: skip
    assert of_config(config) == {
        "seed": 42, "k": [5], "model": {"l2": 1}, "sweep": {"seed": 1, "try_defaults": True},
    }  # fmt: skip


def test_code_that_changed_is_named() -> None:
    before = changed(code={"recsweep": "0123", "my_model.MyModel": "4567"})
    now = changed(code={"recsweep": "0123", "my_model.MyModel": "89ab"})
    assert complaint(now, before) == "the code of my_model.MyModel changed"
    now = changed(code={"recsweep": "cdef", "my_model.MyModel": "89ab"})
    assert complaint(now, before) == (
        "the code of recsweep changed, the code of my_model.MyModel changed"
    )


def test_another_class_is_named_before_its_code() -> None:
    before = changed(config={"model": {"_target_": "a.Mine"}}, code={"a.Mine": "0123"})
    now = changed(config={"model": {"_target_": "b.Mine"}}, code={"b.Mine": "0123"})
    assert complaint(now, before) == "model._target_ was a.Mine and is b.Mine"


def test_a_library_that_is_installed_later_does_not_stop_a_study() -> None:
    before = changed(versions={"keras": "3", "torch": "not installed", "cmaes": "0.12"})
    now = changed(versions={"keras": "3", "torch": "2.9", "cmaes": "not installed"})
    refuse_difference("mine", before, now)
    now["versions"]["keras"] = "4"
    assert complaint(now, before) == "versions.keras was 3 and is 4"


def test_threads_that_follow_from_workers_are_to_be_added() -> None:
    before = {"config": {"threads": 1}, "fingerprint": {}}
    now = {"config": {"threads": 2}, "fingerprint": {}}
    with pytest.raises(InputError, match=r"workers, or add threads=1, or start"):
        refuse_difference("s", before, now)
