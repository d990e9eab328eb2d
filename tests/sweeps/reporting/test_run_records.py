"""A study and its folders, read as what a tracker should have."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from plans import N_EPOCHS, toy_config, toy_plan
from studies import COMPLETE, PRUNED, add, make_study

from recsweep.interfaces import Part
from recsweep.run_files import write_yaml
from recsweep.sweeps.execution.trial_runner import TrialRunner
from recsweep.sweeps.reporting.run_records import StudyRecords, outcome_curve, outcome_metrics
from recsweep.sweeps.study.claims import next_claim
from recsweep.sweeps.study.shared_study import SharedStudy
from recsweep.sweeps.study.status import StudyStatus
from recsweep.tracking.nested_runs import child_tags, sweep_tags

IDENTITY = {"fixed": ["model=toy"], "versions": {"numpy": "2"},
            "fingerprint": {"data": "d", "split": "s"}}  # fmt: skip


def ended(folder: Path, n_trials: int, folds: int | None = None, **model: str) -> StudyRecords:
    """A sweep of the toy with so many finished trials and one more that was only started."""
    study = SharedStudy(toy_plan(folder / "toy", toy_config(folder, **model), folds=folds))
    study.study.set_user_attr("identity", IDENTITY)
    study.study.set_user_attr("objectives", ["ndcg@10"])
    study.study.set_user_attr("space", study.plan.space)
    runner = TrialRunner(study)
    for number in range(n_trials + 1):
        claim = next_claim(study)
        assert claim is not None
        with claim.lease:
            if number < n_trials:
                runner.run(claim)
    return StudyRecords(study.study, StudyStatus.of(study.study, 4, study.is_alive), folder / "toy")


def test_a_trial_is_what_the_study_and_its_folder_say(tmp_path: Path) -> None:
    records = ended(tmp_path, 2)
    first, second = records.children("parent")
    trial = records.trials[1]
    assert second.name == f"#1 quality={trial.params['model.quality']:.3g}".replace("=0.", "=.")
    assert second.params["model.quality"] == trial.params["model.quality"]
    assert second.marks == child_tags("parent", "toy", Part(1))
    by_epoch, by_k = second.curves[:N_EPOCHS], second.curves[N_EPOCHS:]
    assert [step for step, _ in by_epoch] == list(range(1, N_EPOCHS + 1))
    values = {step: metrics["valid/ndcg@10"] for step, metrics in by_epoch}
    assert values == trial.intermediate_values
    final = second.final[1]
    assert by_k == [(k, {"valid/best_ndcg_by_k": final[f"valid_best_ndcg@{k}"]}) for k in (5, 10)]
    assert second.final[0] == trial.user_attrs["best_epoch"]
    assert second.final[1]["valid_best_ndcg@10"] == trial.value
    assert (first.status, first.reason, first.run_id) == ("FINISHED", "", None)
    assert second.began is not None
    assert second.ended is not None
    assert 0 <= second.ended - second.began < 600


def test_a_trial_of_another_host_is_what_the_study_says(tmp_path: Path) -> None:
    records = ended(tmp_path, 2)
    here = list(records.children("parent"))
    elsewhere = StudyRecords(records.study, records.status, tmp_path / "other" / "toy")
    for own, other in zip(here, elsewhere.children("parent"), strict=True):
        assert other.params == own.params
        assert (other.name, other.status, other.marks) == (own.name, own.status, own.marks)
        assert other.final == own.final
        kept = ("valid/ndcg@10", "valid/best_ndcg_by_k")  # losses stay on the trial's host
        values = [
            (step, {k: v for k, v in found.items() if k in kept}) for step, found in own.curves
        ]
        assert other.curves == values
        assert other.tags["split.fingerprint"] == "s"
    assert elsewhere.config["model"] == records.config["model"]


def test_what_a_study_has_stored_is_not_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "s3cr3t")
    records = ended(tmp_path, 1)
    space = records.study.user_attrs["space"]
    space["branches"][0]["config"]["data"]["name"] = "${oc.env:SECRET}"
    records.study.set_user_attr("space", space)
    elsewhere = StudyRecords(records.study, records.status, tmp_path / "other" / "toy")
    assert elsewhere.config["data"]["name"] == "${oc.env:SECRET}"
    assert "s3cr3t" not in str([elsewhere.parent(), *elsewhere.children("parent")])


def test_the_sweep_of_another_host_has_the_winners_scores(tmp_path: Path) -> None:
    records = ended(tmp_path, 2)
    assert records.status.best is not None
    users = {fold: {"n_users": 12, "n_without_target": 0} for fold in ("valid", "test")}
    for index, value in enumerate((0.25, 0.75)):
        replicate = {"seed": index, "valid": {"ndcg@10": 0.5}, "test": {"ndcg@10": value}}
        noted = {"run_id": None, "replicate": replicate, "users": users}
        name = f"final_training/{records.status.best.number:04d}/{index}"
        records.study.set_user_attr(name, noted)
    records.study.set_user_attr("command", "python -m recsweep -m model=toy")
    elsewhere = StudyRecords(records.study, records.status, tmp_path / "other" / "toy")
    parent = elsewhere.parent()
    assert parent.final[1]["test_ndcg@10"] == 0.5
    assert parent.final[1]["test_sd_ndcg@10"] == pytest.approx(0.5 / 2**0.5)
    assert parent.command == "recsweep -m model=toy"


def test_a_trial_that_broke_has_the_curve_that_the_study_knows(tmp_path: Path) -> None:
    records = ended(tmp_path, 1, breaks="a fault")
    (broken,) = records.children("parent")
    assert (broken.status, broken.reason) == ("FAILED", "ZeroDivisionError: a fault")
    value = records.trials[0].intermediate_values[1]
    assert broken.curves == [(1, {"valid/ndcg@10": value})]
    assert broken.final == (0, {})


def test_the_whole_sweep_is_its_outcome(tmp_path: Path) -> None:
    records = ended(tmp_path, 2)
    parent = records.parent()
    assert parent.marks == sweep_tags("toy")
    assert parent.params["fixed"] == ["model=toy"]
    assert (parent.status, parent.reason) == (
        "KILLED", "2 of 4 trials done: 2 complete, 0 pruned, 0 failed, 1 lost",
    )  # fmt: skip
    assert (parent.final[1]["n_complete"], parent.files) == (2.0, {})
    assert "2 of 4 trials done" in str(parent.note)


def test_the_winners_trainings_are_runs_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = ended(tmp_path, 1)
    found = []
    monkeypatch.setattr(
        "recsweep.sweeps.reporting.run_records.run_record",
        lambda *told: found.append(told) or told[2],
    )
    config = toy_config(tmp_path)
    for index, seed in enumerate((42, 43, 44)):
        results = tmp_path / "toy" / "winner" / "0000" / f"replicate-{index}" / "results"
        results.mkdir(parents=True)
        text = yaml.safe_dump({**config, "seed": seed})
        (results / "config.yaml").write_text(text, encoding="utf-8")
        if seed < 44:
            (results.parent / "stdout.txt").touch()
    _, *winners = records.children("parent")
    assert winners == ["best: plans quality=.9 seed=42", "best: plans quality=.9 seed=43"]
    marks = [child_tags("parent", "toy", Part(0, index)) for index in (0, 1)]
    assert [told[1] for told in found] == marks


def test_a_sweeps_metrics_have_those_of_its_winner(tmp_path: Path) -> None:
    status = ended(tmp_path, 1).status
    test = {"mean": {"ndcg@10": 0.5}, "standard_deviation_over_replicates": {"ndcg@10": 0.1}}
    metrics = outcome_metrics(status, test)
    assert status.best is not None
    assert metrics["valid_best_ndcg@10"] == status.best.values[0]
    assert (metrics["test_ndcg@10"], metrics["test_sd_ndcg@10"]) == (0.5, 0.1)
    assert not [name for name in outcome_metrics(status, None) if name.startswith("test")]


def test_a_sweeps_curve_is_the_best_value_so_far_by_number_of_trials(tmp_path: Path) -> None:
    study = make_study(tmp_path / "vae", "ndcg@100")
    for state, value in ((COMPLETE, 0.25), (PRUNED, 0.75), (COMPLETE, 0.125), (COMPLETE, 0.5)):
        add(study, state, [value])
    curve = outcome_curve(StudyStatus.of(study, 4))
    assert curve == [(n, {"best/ndcg@100": best}) for n, best in ((1, 0.25), (3, 0.25), (4, 0.5))]


def test_the_curves_of_every_replicate_are_there(tmp_path: Path) -> None:
    records = ended(tmp_path, 1, folds=2)
    (trial,) = records.children("parent")
    values = records.trials[0].user_attrs["replicates"]
    for prefix, value in (("", values[0]), ("replicate_1/", values[1])):
        name = f"{prefix}valid/ndcg@10"
        curve = {step: metrics[name] for step, metrics in trial.curves if name in metrics}
        assert list(curve) == list(range(1, N_EPOCHS + 1))
        assert max(curve.values()) == value
    assert trial.final[1]["replicate_1/valid_best_ndcg@10"] == values[1]
    assert "valid_sd_ndcg@10" in trial.final[1]


@pytest.mark.parametrize(
    "name",
    ["trials/0000/config.yaml", "trials/0000/curves.csv", "trials", "winner", "results",
     "results/note.md"],
)  # fmt: skip
def test_nothing_is_read_through_a_link(name: str, tmp_path: Path, refused: Any) -> None:
    records = ended(tmp_path, 1)
    link = tmp_path / "toy" / name
    if link.exists():
        link.rename(tmp_path / "away")
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / "away")
    with refused(f"toy must not contain links, but {name} is a link"):
        StudyRecords(records.study, records.status, records.folder)


def test_a_comparison_with_links_is_not_uploaded(tmp_path: Path, refused: Any) -> None:
    records, comparison = ended(tmp_path, 1), tmp_path / "comparison-1"
    comparison.mkdir()
    write_yaml(comparison / "studies.yaml", {"studies": ["toy"]})
    assert records.parent().files == {"comparison": comparison}
    (comparison / "page.html").symlink_to(tmp_path / "private")
    with refused("must not contain links, but page.html is a link"):
        records.parent()
