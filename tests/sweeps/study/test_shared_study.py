"""One study as all processes of a sweep see it: its objectives, and how a trial is finished."""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from plans import toy_plan
from studies import COMPLETE, RUNNING

from recsweep.data.split import Split
from recsweep.errors import InputError, UnfitHostError
from recsweep.sweeps.study.claims import next_claim
from recsweep.sweeps.study.shared_study import CPUS, SharedStudy, directions

Refused = Callable[..., AbstractContextManager[None]]


def test_times_are_to_be_short_and_metrics_high() -> None:
    assert directions(["ndcg@10", "train_s"]) == ["maximize", "minimize"]


def test_a_study_names_its_objectives_for_dashboards(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study = SharedStudy(toy_plan(tmp_path / "toy"))
    assert study.study.metric_names == list(study.plan.objectives)


def test_a_trial_is_finished_only_once_all_of_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = SharedStudy(toy_plan(tmp_path / "toy"))
    assert next_claim(study) is not None

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(study.study, "tell", die)
        with pytest.raises(KeyboardInterrupt):
            study.finish(0, COMPLETE, [0.5], {"wall_s": 1.0})
    (half,) = SharedStudy(toy_plan(tmp_path / "toy")).trials()
    assert (half.state, half.user_attrs["wall_s"]) == (RUNNING, 1.0)
    study.finish(0, COMPLETE, [0.5], {"wall_s": 1.0})
    (whole,) = SharedStudy(toy_plan(tmp_path / "toy")).trials()
    assert (whole.state, whole.value, whole.user_attrs["wall_s"]) == (COMPLETE, 0.5, 1.0)


def test_all_trials_run_on_the_first_ones_kind_of_device(tmp_path: Path) -> None:
    study = SharedStudy(toy_plan(tmp_path / "toy"))
    assert study.is_on_gpu() is None
    study.refuse_other_device("NVIDIA H100", "tf32")
    assert study.is_on_gpu() is True
    again = SharedStudy(toy_plan(tmp_path / "toy"))
    again.refuse_other_device("NVIDIA H100", "tf32")
    for kind, precision in (("cpu", "float32"), ("NVIDIA H100", "float32")):
        expected = rf"runs on NVIDIA H100 \(tf32\) and this worker on {kind} \({precision}\)"
        with pytest.raises(InputError, match=expected):
            again.refuse_other_device(kind, precision)
    other = SharedStudy(toy_plan(tmp_path / "other"))
    other.refuse_other_device("cpu", "float32")
    assert other.is_on_gpu() is False


def never() -> int:
    raise AssertionError("nothing was left to choose")


def test_a_study_keeps_the_slots_of_its_first_worker(tmp_path: Path, refused: Refused) -> None:
    first = SharedStudy(toy_plan(tmp_path / "toy"))
    assert first.agreed_slots is None
    assert first.n_slots == 1
    assert first.agree_on_slots(lambda: 5) == first.n_slots == 5
    for slots in (None, 5):  # whatever suits a later worker
        later = SharedStudy(toy_plan(tmp_path / "toy", slots=slots))
        assert later.agree_on_slots(never) == later.n_slots == later.agreed_slots == 5
    other = SharedStudy(toy_plan(tmp_path / "toy", slots=4))
    for refuse in (lambda: other.agree_on_slots(never), other.refuse_other_slots):
        with refused("toy runs with 5 and sweep.slots is 4; set sweep.slots=5, or start another"):
            refuse()
    assert other.agreed_slots == 5


@pytest.mark.extended
def test_slots_that_were_asked_for_are_not_chosen(tmp_path: Path) -> None:
    study = SharedStudy(toy_plan(tmp_path / "toy", slots=4))
    study.refuse_other_slots()  # nothing to differ from
    assert study.agree_on_slots(never) == 4
    assert SharedStudy(toy_plan(tmp_path / "toy")).agreed_slots == 4


def test_the_first_of_two_workers_that_choose_at_once_decides(tmp_path: Path) -> None:
    first, second = (SharedStudy(toy_plan(tmp_path / "toy")) for _ in range(2))

    def choose_late() -> int:
        assert second.agree_on_slots(lambda: 7) == 7
        return 3

    assert first.agree_on_slots(choose_late) == first.n_slots == 7


def test_a_host_of_another_cpu_type_is_told_of_once_or_refused(
    tmp_path: Path, refused: Refused
) -> None:
    study = SharedStudy(toy_plan(tmp_path / "toy"))
    told = [study.note_cpu(cpu) for cpu in ("x86 A", "x86 A", "x86 B", "x86 B", "x86 A")]
    assert told == [False, False, True, False, False]
    assert study.study.user_attrs[CPUS] == ["x86 A", "x86 B"]
    strict = SharedStudy(replace(study.plan, require_same_cpu=True))
    assert not strict.note_cpu("x86 A")
    for cpu in ("x86 B", "arm C"):
        with refused("sweep.require_same_cpu=true", "toy started on, x86 A,", f"host is {cpu};"):
            strict.note_cpu(cpu)
    assert study.study.user_attrs[CPUS] == ["x86 A", "x86 B"]


@pytest.mark.parametrize("part", ["data", "split"])
def test_a_host_with_other_data_is_refused(tmp_path: Path, refused: Refused, part: str) -> None:
    study = SharedStudy(toy_plan(tmp_path / "toy"))

    def held(**changed: str) -> None:
        own = {"data": "d" * 64, "split": "5" * 64, **changed}
        given = SimpleNamespace(data_fingerprint=own["data"], fingerprint=own["split"])
        study.refuse_other_data(cast("Split", given))

    held(data="anything")  # a study without an identity is nobody's
    fingerprint = {"data": "d" * 64, "split": "5" * 64}
    study.study.set_user_attr("identity", {"fingerprint": fingerprint})
    held()
    was = {"data": "d" * 12, "split": "5" * 12}[part]
    with refused(f"must have the {part} that toy", f"is {was} there and {'e' * 12} on this host"):
        held(**{part: "e" * 64})
    with pytest.raises(UnfitHostError):
        held(**{part: "e" * 64})


@pytest.mark.parametrize(
    "name",
    ["journal.log", "trials", "trials/0000", "trials/0000/config.yaml", "trials/0000/log.txt",
     "locks/mutex", "winner", "results/note.md"],
)  # fmt: skip
def test_a_study_with_links_in_its_folder_is_not_resumed(
    name: str, tmp_path: Path, refused: Refused
) -> None:
    mine, link = tmp_path / "mine", tmp_path / "toy" / name
    mine.mkdir()
    link.parent.mkdir(parents=True)
    link.symlink_to(mine if "." not in name else mine / "file")
    with refused(f"toy must not contain links, but {name} is a link to {mine}"):
        SharedStudy(toy_plan(tmp_path / "toy"))
    assert not [*mine.iterdir()]
    assert [path for path in (tmp_path / "toy").rglob("*") if not path.is_dir()] in ([link], [])
