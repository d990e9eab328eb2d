"""Which runs are replicates of one another, what they are called, and which may be compared."""

from dataclasses import replace
from pathlib import Path

import pytest
from scored_runs import SPLIT, read_run, scored_run, write_run

from recsweep.comparison.contenders import (
    environments,
    group_runs,
    refuse_unequal,
    settings_of_model,
)
from recsweep.errors import InputError

POPULARITY = "recsweep.models.popularity.Popularity"


def test_runs_that_differ_in_their_seed_only_are_one_contender(tmp_path: Path) -> None:
    seeds = [scored_run(tmp_path, "ease", [0.0, 1.0], seed=seed) for seed in (2, 1)]
    other = scored_run(tmp_path, "ease", [0.5, 0.5], l2=3.0)
    first, second = group_runs([*seeds, other])
    assert [run.seed for run in first.replicates] == [1, 2]
    assert len(second.replicates) == 1
    (of_study,) = group_runs([replace(other, study="ease-1")])
    assert (first.study, of_study.study) == (None, "ease-1")


def test_the_order_of_settings_makes_no_other_contender(tmp_path: Path) -> None:
    one, two = (scored_run(tmp_path, "ease", [0.5, 0.5], seed=seed, a=1, b=2) for seed in (1, 2))
    turned = {key: two.config[key] for key in reversed(two.config)}
    turned["model"] = {key: two.config["model"][key] for key in reversed(two.config["model"])}
    assert len(group_runs([one, replace(two, config=turned)])) == 1


def test_where_a_run_is_tracked_and_cached_makes_no_other_contender(tmp_path: Path) -> None:
    one, two = (scored_run(tmp_path, "ease", [0.5, 0.5], seed=seed) for seed in (1, 2))
    elsewhere = {"tracking": {"uri": "x"}, "cache_dir": "y", "debug": True, "search": {"a": "b"}}
    elsewhere |= {"trust": ["mine"], "fetch": True, "threads": 7, "evaluation_batch_size": 9}
    elsewhere |= {"max_unpacked_gib": 9.0, "data": {"path": "z"}}
    assert len(group_runs([one, replace(two, config={**two.config, **elsewhere})])) == 1
    assert len(group_runs([one, replace(two, config={**two.config, "backend": "jax"})])) == 2


def test_code_of_others_is_imported_only_if_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "was here"
    (tmp_path / "own_model.py").write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()")
    monkeypatch.syspath_prepend(tmp_path)
    run = scored_run(tmp_path / "runs", "popularity", [0.5])
    known = replace(run, config={**run.config, "model": {"_target_": POPULARITY}})
    foreign = replace(run, config={**run.config, "model": {"_target_": "own_model.Model"}})
    assert group_runs([known])[0].is_deterministic
    assert not group_runs([foreign])[0].is_deterministic
    assert not mark.exists()
    assert not group_runs([foreign], ["own_model"])[0].is_deterministic, "it has no such class"
    assert mark.exists()


def test_of_two_runs_with_the_same_seed_the_later_one_counts(tmp_path: Path) -> None:
    runs = [scored_run(tmp_path, "ease", [value, value]) for value in (0.25, 0.75)]
    (one,) = group_runs(runs)
    assert [run.place for run in one.replicates] == ["1"]


def test_a_name_says_as_much_as_it_must(tmp_path: Path) -> None:
    values = [0.5, 0.5]
    ease = [scored_run(tmp_path, "ease", values, l2=l2, dropout_rate=0.5) for l2 in (1.0, 20.0)]
    vae, tuned = (scored_run(tmp_path, "multivae", values, beta=beta) for beta in (0.2, 0.3))
    of_study = replace(tuned, study="multivae-liang-1")
    popularity = scored_run(tmp_path, "popularity", values)
    runs = [*ease, vae, of_study, popularity]
    names = ["ease l2=1", "ease l2=20", "multivae β=.2", "multivae-liang-1", "popularity"]
    assert [each.name for each in group_runs(runs)] == names
    assert group_runs([vae, replace(tuned, study="mine")])[1].name == "multivae mine"
    twice = [replace(ease[0], study=study) for study in ("s", "s")]
    assert group_runs([*twice, replace(ease[1], study="s")])[1].name == "ease l2=20"


def test_users_are_averaged_over_replicates_and_replicates_over_users(tmp_path: Path) -> None:
    one, two = ([0.0, 1.0], [0.5, 0.75])
    runs = [scored_run(tmp_path, "ease", values, seed=n) for n, values in enumerate((one, two))]
    (ease,) = group_runs(runs)
    assert list(ease.of_users("ndcg@10")) == [0.25, 0.875]
    assert list(ease.of_replicates("ndcg@10")) == [0.5, 0.625]


def test_the_users_of_every_split_count(tmp_path: Path) -> None:
    runs = [
        scored_run(tmp_path, "ease", [value, 1.0], seed=n, split=split)
        for n, (value, split) in enumerate([(0.0, "x"), (0.5, "y")])
    ]
    (ease,) = group_runs(runs)
    assert dict(ease.of_users("ndcg@10")) == {
        ("x", "a"): 0.0, ("x", "b"): 1.0, ("y", "a"): 0.5, ("y", "b"): 1.0,
    }  # fmt: skip
    assert ease.splits == ["x", "y"]


def test_a_single_contender_is_no_comparison(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"at least two .* found none"):
        refuse_unequal([], ["ndcg@10"])
    contenders = group_runs([scored_run(tmp_path, "ease", [0.5], seed=seed) for seed in (1, 2)])
    with pytest.raises(InputError, match=r"at least two .* found only ease"):
        refuse_unequal(contenders, ["ndcg@10"])


def test_contenders_on_other_splits_are_refused(tmp_path: Path) -> None:
    one = scored_run(tmp_path, "ease", [0.5])
    other = scored_run(tmp_path, "popularity", [0.5], split="6" * 64)
    expected = f"same split.fingerprint, but ease has {SPLIT[:12]} and popularity has 666666666666;"
    with pytest.raises(InputError, match=expected):
        refuse_unequal(group_runs([one, other]), ["ndcg@10"])
    more = scored_run(tmp_path, "popularity", [0.5], seed=2)
    with pytest.raises(InputError, match=r"popularity has 555555555555, 666666666666"):
        refuse_unequal(group_runs([one, other, more]), ["ndcg@10"])


def test_contenders_with_another_meaning_of_a_metric_are_refused(tmp_path: Path) -> None:
    one, other = (scored_run(tmp_path, model, [0.5]) for model in ("ease", "popularity"))
    other = replace(other, definitions={**other.definitions, "ndcg": "something else"})
    contenders = group_runs([one, other])
    expected = r"same definition of ndcg, but ease has 'Sum .*' and popularity has 'something else'"
    with pytest.raises(InputError, match=expected):
        refuse_unequal(contenders, ["ndcg@10"])
    refuse_unequal(contenders, ["recall@10"])


def test_contenders_with_other_users_are_refused(tmp_path: Path) -> None:
    one = scored_run(tmp_path, "ease", [0.5, 0.5])
    other = scored_run(tmp_path, "popularity", [0.5, 0.5, 0.5])
    expected = "same test users, but ease has 2 and popularity 3, and user c is not in both"
    with pytest.raises(InputError, match=expected):
        refuse_unequal(group_runs([one, other]), ["ndcg@10"])


def test_what_runs_noted_is_laid_side_by_side(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "x", "ease", {"ndcg@10": [0.5]}, l2=2.0, hidden_dims=[3])
    run = read_run(folder, "x")
    silent = replace(scored_run(tmp_path, "popularity", [0.5]), environment={})
    found = dict(environments(group_runs([run, silent])))
    assert found["git.commit"] == ["c" * 12, ""]
    assert "run_id" not in found
    assert settings_of_model(run) == "l2=2.0, hidden_dims=[3]"
