"""Mistakes on a command line: each is one line that says what to type."""

import errno
from pathlib import Path

import pytest
from hydra import compose
from hydra.errors import HydraException

from recsweep.command_line import groups, own_hydra
from recsweep.errors import InputError
from recsweep.mistakes import (
    READ_BY,
    _unknown_choice,
    bad_path,
    explain,
    options_first,
    refuse_mistyped,
    refuse_unknown_topics,
    refuse_unread,
    with_files_of_runs,
)

GROUPS = {"model": ["ease", "ials"], "task": ["best", "train"], "pruner": ["none"]}


def test_quotes_around_a_whole_argument_are_those_of_a_command_substitution() -> None:
    assert options_first(["'k=[5,10]'", "-m", "seed='1'"]) == ["-m", "k=[5,10]", "seed='1'"]


def test_only_a_task_for_stored_runs_names_files_that_its_own_split_may_not_have() -> None:
    typed = ["split.path=a", "data.path=b", "k=[5]"]
    assert with_files_of_runs(typed) == typed
    assert with_files_of_runs([*typed, "task=reproduce"]) == [
        "++split.path=a", "++data.path=b", "k=[5]", "task=reproduce"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("model=ease -m seed=1,2", "-m model=ease seed=1,2"),
        ("model=ease --cfg job seed=1", "--cfg job model=ease seed=1"),
        ("model=ease --info defaults", "--info defaults model=ease"),
        ("model=ease --info seed=1", "--info model=ease seed=1"),
        ("a=1 --config-dir x b=2 -m", "--config-dir x -m a=1 b=2"),
        ("-m a=1 b=2", "-m a=1 b=2"),
        ("a=1 --multirun", "--multirun a=1"),
    ],
)
def test_options_may_come_anywhere(typed: str, expected: str) -> None:
    assert " ".join(options_first(typed.split())) == expected


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--hepl", "but --hepl is not; did you mean --help?"),
        ("--multrun", "did you mean --multirun?"),
        ("-M", "did you mean --multirun?"),
        ("-H", "did you mean --help?"),
        ("--cgf=job", "did you mean --cfg?"),
        ("-x", "see python -m recsweep --hydra-help. Settings are written without dashes, as KEY="),
        ("--model", "Settings are written without dashes, as model=VALUE"),
        ("--model=ease", "write model=ease"),
        ("-model=ease", "write model=ease"),
        ("–m", "but –m has others; write -m"),
        ("—help", "write --help"),
        ("“model=ease”", "write model=ease"),
        ("model=[ease,ials]", "write python -m recsweep -m model=ease,ials"),
        ("model=[ ease, ials ]", "write python -m recsweep -m model=ease,ials"),
        ("+model=[ease,ials]", "write python -m recsweep -m model=ease,ials"),
    ],
)
def test_a_mistyped_argument_is_named_with_what_was_meant(argument: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        refuse_mistyped(["seed=1", argument], GROUPS)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("typed", "text", "remedy"),
    [
        ("data.path=my.csv", "my.csv must be UTF-8", "data=csv data.path=my.csv"),
        ("data=ml-100k data.path=a&b.csv", "not found in a&b.csv", "data=csv data.path='a&b.csv'"),
        ("data=csv data.path=my.csv", "my.csv must be UTF-8", ""),
        ("data.path=my.csv", "my.csv must fit; with data=csv set data.delimiter", ""),
        ("data.path=my.csv", "model.l2 must be at least 0", ""),
        ("data.path=l", "unknown key model.l", ""),
        ("data.path=absent.csv", "absent.csv is not there", ""),
        ("model=ease", "my.csv must be UTF-8", ""),
    ],
)
def test_a_table_that_is_no_published_data_set_is_read_with_data_csv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, text: str, remedy: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("my.csv", "a&b.csv", "l"):
        Path(name).touch()
    added = f"; a table of your own is read with {remedy}" if remedy else ""
    assert explain(InputError(text), typed.split()) == text + added


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("tracking=false", "tracking must be one of mlflow, off, but is false; set tracking=off"),
        ("tracking=null", "but is null; set tracking=off"),
        ("tracking=None", "but is None; set tracking=off"),
        ("metrics=ndcg@10", "is ndcg@10; cut-offs are set by k: write 'metrics=[ndcg]' 'k=[10]'"),
        ("split=0.2", "temporal, weak, but is 0.2; set split=CHOICE"),
        ("data=my.csv", "a table of your own is read with data=csv data.path=my.csv"),
        ("data=../my.csv", "error: data must be one of"),
        ("data=../my", "yelp2018, but is ../my; a table of your own is read with data=csv"),
        ("experiment=conf/experiment/liang2018.yaml", "did you mean experiment=liang2018?"),
        ("model=my/eas", "turbo_cf, but is my/eas; did you mean model=ease?"),
        ("model = ease", "must have no spaces around =, but model = ease has; write model=ease"),
        ("task=train,best", "a command runs one task, but task=train,best names several"),
        ("task=sweep", "a search is started by -m: write python -m recsweep -m model=CHOICE"),
        ("model.l2=tag(log,intervall(1,2))", "but is intervall; did you mean interval(…)?"),
        ("model.l2=zzz(1)", "but is zzz; see python -m recsweep --help"),
        ("model.l2=interval(a,b)", "write 'model.l2=interval(LOW,HIGH)'"),
        ("model='ease", "but model='ease is not (quotes come in pairs); fix it"),
        ("'model.l2=1", "came with a half of them; type double quotes, or run a printed command"),
    ],
)
def test_what_hydra_refuses_is_one_line_with_its_remedy(typed: str, expected: str) -> None:
    with pytest.raises((HydraException, ValueError)) as caught, own_hydra():
        compose("config", [typed])
    told = f"error: {explain(caught.value, [typed], groups())}"
    assert expected in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("number", "is_path"),
    [(errno.ENAMETOOLONG, True), (errno.EACCES, True), (errno.ELOOP, True), (errno.EIO, False)],
)
def test_a_path_that_cannot_be_opened_is_one_short_line(number: int, is_path: bool) -> None:
    found = bad_path(OSError(number, "no access", "x" * 300))
    assert (found is not None) is is_path
    if found:
        assert str(found) == (
            f"every path must be one that can be opened, but {'x' * 79}… is not (no access); "
            "check it and its permissions"
        )
    assert bad_path(OSError(number, "no access")) is None
    assert bad_path(ValueError("no path")) is None


@pytest.mark.parametrize(
    "typed", ["-m -m", "-m model=ease --multirun", "--config-dir=a --config-dir b", "-cd a -cd b"]
)
def test_an_option_is_given_once(typed: str) -> None:
    with pytest.raises(InputError, match=r"given once, but -\S+ is given again; leave one out"):
        refuse_mistyped(typed.split(), GROUPS)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("model=esse", "model must be one of ease, ials, but is esse; did you mean model=ease?"),
        ("model=ease,ialls", "but is ialls; did you mean model=ials?"),
        ("task=best taks=train", "unknown key taks; did you mean task?"),
        ("model=ease extra", "an argument must be KEY=VALUE, but extra is not"),
    ],
)
def test_help_is_given_on_what_exists(typed: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        refuse_unknown_topics(typed.split(), GROUPS, ["seed"])
    assert expected in str(caught.value)


def test_help_takes_settings_lists_and_searches_as_they_are() -> None:
    typed = (
        "model=[ease,ials] task=null seed=3 model.l2=interval(1,2) pruner=choice(a,b) "
        "hydra/launcher=slurm +x.y=1"
    )
    refuse_unknown_topics(typed.split(), GROUPS, ["seed"])


def test_what_is_right_is_not_refused() -> None:
    typed = ["-m", "--config-dir", "–x", "k=[1,2]", "+model.x=[1]", "-rm", "data.path=“x”.csv"]
    refuse_mistyped(typed, GROUPS)


@pytest.mark.parametrize(
    ("task", "override", "expected"),
    [
        ("train", "sweep.n_trials=3", "write python -m recsweep -m seed=1 sweep.n_trials=3, or"),
        ("train", "sweep=quick", "write python -m recsweep -m seed=1 sweep=quick, or leave"),
        ("train", "sampler=random", "only a search reads sampler"),
        ("train", "pruner.n_warmup=1", "only a search reads pruner.n_warmup"),
        ("train", "study=mine", "only a search reads study"),
        ("train", "+search.model.l2=1", "only a search reads search.model.l2"),
        ("best", "sweep.n_trials=3", "task=best does not read sweep.n_trials; leave"),
        ("compare", "study=mine", "write task.of=mine"),
        ("register", "study=mine", "write task.run=mine"),
        ("reproduce", "study=mine", "write task.run=mine"),
        ("upload", "study=x", "write task.run=x"),
        ("evaluate", "study=x", "task=evaluate does not read study; leave study=x out"),
        ("download", "sweep.folder=x", "task=download does not read sweep.folder"),
    ],
)
def test_what_a_task_would_ignore_is_refused(task: str, override: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        refuse_unread(["seed=1", override], task)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_task_reads_is_not_refused() -> None:
    for task in READ_BY:
        refuse_unread(["model=ease", "k=5", "tracking.uri=x", "cache_dir=x"], task)
    for task in ("best", "studies", "compare", "upload", "recommend", "register", "reproduce"):
        refuse_unread(["sweep.folder=x", "sweep.storage=y"], task)
    refuse_unread(["study=mine"], "best")
    refuse_unread(["sweep.n_trials=3", "study=x"], "a task of the user's own")


def test_a_launcher_of_an_extra_is_named_with_its_extra() -> None:
    for typed in ("submitit_slurm", "slurm"):
        assert _unknown_choice(f"hydra/launcher/{typed}", ["basic", "joblib", "ray"]) == (
            f"hydra/launcher must be one of basic, joblib, ray, but is {typed}; submitit_slurm "
            "needs the extra slurm: run pip install 'recsweep[slurm]'"
        )
