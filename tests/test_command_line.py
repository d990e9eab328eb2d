"""The command line: bad input is one line and leaves nothing, a run ends as it should."""

import os
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from commands import first_few, run_command

from recsweep import command_line

ROOT = Path(__file__).resolve().parent.parent
SYNTHETIC = "data=synthetic data.n_users=120 data.n_items=50 k=[5,10]"
NETWORK = "model.hidden_dims=[16] model.latent_dim=8 model.beta_warmup_steps=0"

TOY = """
import sqlite3
from contextlib import closing
from typing import Literal
from pydantic.dataclasses import dataclass
import numpy as np

@dataclass(kw_only=True)
class Toy:
    breaks: Literal["nothing", "fit", "store"]

    def fit(self, train, on_epoch, seeds):
        on_epoch(0, {})
        if self.breaks == "fit":
            raise ZeroDivisionError("a fault of the toy")

    def score(self, history):
        return np.zeros(history.shape)

    def state(self):
        return {}

    def restore(self, state):
        if self.breaks == "store":
            with closing(sqlite3.connect("mlflow.db")) as connection:
                connection.execute("DROP TABLE metrics")
"""
TOY_YAML = """# @package _global_
model:
  _target_: toy_model.Toy
  breaks: nothing
search: {}
"""


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[[str], Ended]


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Runs a command line in this process, in an empty folder; afterwards all is as before."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    environment = dict(os.environ)
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def run(line: str) -> Ended:
        cache = f"cache_dir={tmp_path / 'cache'}"
        arguments = sorted([cache, *shlex.split(line)], key=lambda a: not a.startswith("--"))
        monkeypatch.setattr(sys, "argv", ["recsweep", *arguments])
        code = 0
        try:
            command_line.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Ended(code, *capsys.readouterr())

    yield run
    os.environ.clear()
    os.environ.update(environment)
    for number, handler in signals.items():
        signal.signal(number, handler)


def assert_refused(ended: Ended, *expected: str) -> None:
    """One line that says what must hold, exit code 1, and not a file or folder left."""
    assert ended.code == 1
    assert ended.out == ""
    assert ended.err.count("\n") == 1, ended.err
    assert ended.err.startswith("error: ")
    for part in expected:
        assert part in ended.err
    assert list(Path().iterdir()) == []


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("model.droput_rate=.3", "did you mean model.dropout_rate?"),
        ("sed=1", "did you mean seed?"),
        ("taks=compare --help", "unknown key taks; did you mean task?"),
        ("modl=multivae", "did you mean model?"),
        ("learning_rate=0.1", "did you mean optimizer.learning_rate?"),
        ("hydra.run.dri=x", "did you mean hydra.run.dir?"),
        ("+foo=1", "unknown key foo; python -m recsweep --help lists all keys"),
        ("+model.foo=1", "unknown key model.foo; model has "),
        ("+task.foo=1", "unknown key task.foo; task has no settings"),
        ("model=popularity model.x=1", "unknown key model.x; model has no settings"),
        ("epochs=5", "unknown key epochs; did you mean model.n_epochs?"),
        ("lr=1e-3", "did you mean optimizer.learning_rate?"),
        ("+epochs=5", "did you mean model.n_epochs?"),
        ("dataset=ml-1m", "did you mean data?"),
        ("n_trials=3", "did you mean sweep.n_trials?"),
    ],
)
def test_an_unknown_key_is_refused(command: Command, line: str, expected: str) -> None:
    assert_refused(command(line), "unknown key ", expected)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("model=multvae", "slim, turbo_cf, but is multvae; did you mean model=multivae?"),
        ("data=ml100k", "did you mean data=ml-100k?"),
        ("experiment=nope", "experiment must be one of liang2018"),
        ("optimizer=adm", "did you mean optimizer=adam?"),
        ("task=trian", "did you mean task=train?"),
        ("model=null", "but is null; set model=CHOICE"),
        ("+experiment=notebook_multivae", "write experiment=notebook_multivae"),
        ("++experiment=notebook_multivae", "write experiment=notebook_multivae"),
        ("+model=ease", "but model is there; write model=ease"),
        ("+seed=1", "but seed is there; write seed=1"),
        ("model=[ease,ials]", "write python -m recsweep -m model=ease,ials"),
        ("-m model=[ease,ials]", "write python -m recsweep -m model=ease,ials"),
        ("--hepl", "did you mean --help?"),
        ("model=ease model.l2", "model.l2 is not; write model.l2=VALUE"),
        ("model=eese --help", "did you mean model=ease?"),
        ("ease", "an argument must be KEY=VALUE, but ease is not; did you mean model=ease?"),
        ("model:ease", "did you mean model=ease?"),
        ("model = ease", "write model=VALUE without spaces"),
        ("'\"model=ease\"'", "write model=ease"),
        ("model.hidden_dims=[600, 300]", "write 'model.hidden_dims=[600, 300]'"),
        ("data.path=my file.csv", "'data.path=\"my file.csv\"'"),
        ("sampler=bayes", "random, tpe, but is bayes; set sampler=CHOICE"),
        ("~model", "model must be given, but is missing"),
        ("backend=torch", "backend must be 'jax' or 'tensorflow', but is 'torch'"),
        ("model._target_=recsweep.models.nope.Nope", "No module named 'recsweep.models.nope'"),
        ("--config-dir=nowhere", "must be an existing folder, but"),
    ],
)
def test_an_unknown_choice_is_refused(command: Command, line: str, expected: str) -> None:
    assert_refused(command(line), expected)


@pytest.mark.parametrize(
    ("line", "expected"),
    first_few(
        [
            ("model.dropout_rate=7", "model.dropout_rate must be at least 0 and at most 0.999999"),
            ("model.beta=-1", "model.beta must be at least 0 and at most 1e+30, but is -1"),
            ("model.beta=inf", "model.beta must be a finite number, but is inf"),
            ("model.beta=", "model.beta must be a valid number, but is ''"),
            ("model.hidden_dims=[]", "model.hidden_dims must have at least 1 item"),
            ("model.latent_dim=2.5", "model.latent_dim must be a valid integer, but is 2.5"),
            ("model.optimizer=3", "an instance of Optimizer, but is 3; change model.optimizer"),
            ("optimizer.learning_rate=abc", "learning_rate must be a valid number, but is 'abc'"),
            ("optimizer.learning_rate=nan", "learning_rate must be a finite number, but is nan"),
            ("optimizer.schedule=cosine", "optimizer: schedule=cosine needs a learning_rate_decay"),
            ("split.target_fraction=1", "split.target_fraction must be above 0 and below 1"),
            (
                "'model.beta=interval(0,1)'",
                "a single run needs one value of each setting, but model.beta=interval(0,1) has "
                "more; to search them write python -m recsweep -m ",
            ),
            ("model=multivae,ease", "but model=multivae,ease has more; to search them write"),
            ("k=0", "k[0] must be at least 1, but is 0; change k"),
            ("k=[]", "k must have at least 1 item, but is [], an empty list; write 'k=[VALUE]'"),
            ("k=[10,x]", "k[1] must be a valid integer, but is 'x'"),
            ("metrics=[ndgc]", "but is ndgc; did you mean metrics=ndcg?"),
            ("objective=ndcg@7", "error: objective must be one of the metrics"),
            ("evaluation_batch_size=0", "evaluation_batch_size must be at least 1"),
            ("seed=-1", "seed must be at least 0, but is -1"),
            ("seed=[1,2]", "seed must be a valid integer, but is [1, 2]; give one value"),
            ("model.beta=[.1,.2]", "give one value; a search over several is -m model.beta=A,B"),
            ("'seed=${oc.env:MYSEED,7}'", "'seed=${oc.decode:${oc.env:NAME}}'"),
            ("'k=${oc.env:MYK,\"[5,10]\"}'", "'k=${oc.decode:${oc.env:NAME}}'"),
            (
                "search.model.beta=.3",
                "search.model.beta can be set in YAML files only; write model.beta: "
                "python -m recsweep -m 'model.beta=interval(LOW,HIGH)' searches it",
            ),
            (
                "'model.beta=(0,1)'",
                "a range is interval(LOW,HIGH), but model.beta=(0,1) is none; write "
                "'model.beta=interval(0,1)'",
            ),
            ("sweep.n_trials=3", " tracking=off sweep.n_trials=3, or leave sweep.n_trials=3 out"),
            ("sweep=quick", "only a search reads sweep, and without -m there is none"),
            ("task=studies sampler=random", "task=studies does not read sampler; leave"),
            ("patience=0", "patience must be at least 1, but is 0"),
            ("threads=0", "threads must be at least 1, but is 0"),
            (
                "--model=multivae",
                "settings are written without dashes, but --model=multivae has them",
            ),
            *(
                (
                    f"{line}=s3://b/x",
                    f"{line.split()[-1]}: the path must be one on this computer, but",
                )
                for line in (
                    *(
                        f"data={name} data.path"
                        for name in ("csv", "liang", "lightgcn", "yelp2018", "jukebox")
                    ),
                    "data.path",
                    "split=heldout split.path",
                    "task=export task.folder",
                    "task=recommend task.users",
                    "task=evaluate task.truth",
                    "cache_dir",
                )
            ),
            (
                "help",
                "an argument must be KEY=VALUE, but help is not; see python -m recsweep --help",
            ),
            ("k=[10", "in Hydra's grammar, but k=[10 is not (a [ and a ] belong together); fix it"),
            ("-m 'model.l2=interval(1)'", "write 'model.l2=interval(LOW,HIGH)'"),
            ("-m 'model.l2=interval(a,b)'", "write 'model.l2=interval(LOW,HIGH)'"),
            ("-m 'model.l2=range(a,3)'", "write 'model.l2=range(START,STOP,STEP)'"),
            ("'data.path=mein häuschen'", "'data.path=\"mein häuschen\"'"),
            ("data.path='${nope}'", "data.path must have a value, but has none"),
        ]
    ),
)
def test_a_value_of_wrong_type_or_range_is_refused(
    command: Command, line: str, expected: str
) -> None:
    assert_refused(command(f"tracking=off {line}"), expected)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("data=csv", "give data.path=FILE"),
        ("data=csv data.path=gone.csv", "data.path must"),
        ("data=liang", "give data.path=FOLDER"),
        ("data=liang split=strong data.path={files}/liang", "use split=presplit"),
        (f"{SYNTHETIC} split=presplit", "use split=strong or split=weak"),
        (f"{SYNTHETIC} k=[10,500]", "k must not exceed the 50 items of the catalogue, but is 500"),
        (
            f"{SYNTHETIC} data.min_user_interactions=999",
            "must have 999 interactions with a value above 0",
        ),
        ("data=csv data.path={files}/columns.csv", "must have one column 'user'"),
        ("data=ml-100k data.path={files}/damaged.zip", "must be a complete zip"),
        ("data=ml-100k data.url=http://127.0.0.1:1/x data.wheel=null", "must be reachable"),
    ],
)
def test_data_that_cannot_be_used_is_refused(
    command: Command, tmp_path: Path, line: str, expected: str
) -> None:
    files = tmp_path / "files"
    (files / "liang").mkdir(parents=True)
    for part, row in {
        "train": "0,0\n1,1", "validation_tr": "2,0", "validation_te": "2,1",
        "test_tr": "3,0", "test_te": "3,1",
    }.items():  # fmt: skip
        (files / "liang" / f"{part}.csv").write_text(f"uid,sid\n{row}\n", encoding="utf-8")
    (files / "columns.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    (files / "damaged.zip").write_bytes(b"PK\x03\x04" + b"x" * 100)
    line = line.format(files=files)
    assert_refused(command(f"tracking=off model=popularity {line}"), expected)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("hydra.run.dir={file}/x", "file/x is not (Not a directory); change to another folder"),
        ("tracking.uri=sqlite:///{file}/x.db", "tracking.uri must name a usable MLflow store"),
        ("tracking.uri=sqlite:///{file}", "it is not an SQLite database"),
        ("task=export task.folder={file}/x", "task.folder must be a new or empty folder"),
        ("cache_dir={file}", "point cache_dir to another folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused(
    command: Command, tmp_path: Path, line: str, expected: str
) -> None:
    (tmp_path / "file").write_text("precious", encoding="utf-8")
    line = line.format(file=tmp_path / "file")
    assert_refused(command(f"model=popularity {SYNTHETIC} {line}"), expected)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "precious"


def test_folders_of_the_user_stay_when_a_run_is_refused(command: Command) -> None:
    Path("mine/empty").mkdir(parents=True)
    assert command("hydra.run.dir=mine/empty k=0").code == 1
    assert command("hydra.run.dir=mine/new/one k=0").code == 1
    assert command("hydra.run.dir=. k=0").code == 1
    assert [str(path) for path in Path().rglob("*")] == ["mine", "mine/empty"]


def test_training_that_diverges_is_one_line(command: Command) -> None:
    ended = command(f"tracking=off {SYNTHETIC} {NETWORK} optimizer.learning_rate=10 model.l2=1e9")
    assert ended.code == 1
    assert "error: the loss must stay finite, but it is " in ended.err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("how", ["environment", "debug=true"])
def test_a_traceback_can_be_asked_for(
    command: Command, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    from recsweep.errors import InputError

    if how == "environment":
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(InputError, match="k\\[0\\] must be at least 1"):
        command("k=0" if how == "environment" else "k=0 debug=true")


# --- models of one's own ------------------------------------------------------------------------


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model outside the project; its value is the flag that makes it known."""
    (tmp_path / "toys" / "model").mkdir(parents=True)
    (tmp_path / "toys" / "model" / "toy.yaml").write_text(TOY_YAML, encoding="utf-8")
    (tmp_path / "toys" / "toy_model.py").write_text(TOY, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "toys")
    return f"--config-dir={tmp_path / 'toys'}"


def test_a_model_of_ones_own_is_chosen_like_any_other(command: Command, toy: str) -> None:
    ended = command(f"{toy} model=toy tracking=off {SYNTHETIC}")
    assert ended.code == 0
    assert "best epoch 1 of 1" in ended.out
    assert "did you mean model=toy?" in command(f"{toy} model=toi").err


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy
def test_a_crash_shows_its_traceback_and_fails_the_run(command: Command, toy: str) -> None:
    with pytest.raises(ZeroDivisionError):  # Python prints it with its traceback
        command(f"{toy} model=toy model.breaks=fit {SYNTHETIC}")
    assert ended_runs(Path()) == [("FAILED", "ZeroDivisionError: a fault of the toy")]
    assert not Path("outputs").exists()


@pytest.mark.extended
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy
def test_a_store_that_is_lost_at_the_end_does_not_take_the_results_along(
    command: Command, toy: str
) -> None:
    ended = command(f"{toy} model=toy model.breaks=store {SYNTHETIC}")
    assert ended.code == 0
    assert "warning: the tracking store was lost" in ended.err
    assert "upload it later: python -m recsweep task=upload task.run=" in ended.err
    assert "mean ± standard error over" in ended.out
    assert next(Path("outputs").rglob("metrics.json")).is_file()


def ended_runs(folder: Path) -> list[tuple[str, str]]:
    """Status and reason of each run."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        return connection.execute(
            "SELECT status, value FROM runs JOIN tags USING (run_uuid) WHERE key = 'reason'"
        ).fetchall()


# --- the process --------------------------------------------------------------------------------


def start(folder: Path, line: str, **changes: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **changes}
    for name in ("HYDRA_FULL_ERROR", "MLFLOW_TRACKING_URI"):
        environment.pop(name, None)
    return subprocess.Popen(
        [sys.executable, "-m", "recsweep", *shlex.split(line), f"cache_dir={folder.parent}/cache"],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize(
    "code",
    [
        "import recsweep",
        "import recsweep.command_line as c; sys.argv = ['recsweep', '--help']; c.main()",
        "import recsweep.command_line as c; sys.argv = ['recsweep', '--cfg', 'job']; c.main()",
        "import recsweep.command_line as c; sys.argv = ['recsweep', 'sed=1']; c.main()",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(tmp_path: Path, code: str) -> None:
    heavy = ["jax", "keras", "matplotlib", "mlflow", "optuna", "pandas", "tensorflow"]
    script = f"""
import sys
try:
    {code}
except SystemExit:
    pass
assert not set({heavy}) & set(sys.modules), set({heavy}) & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_hydras_own_information_is_printed_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "recsweep", "--info", "plugins"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.count("Installed Hydra Plugins") == 1
    assert done.stderr == ""


def test_help_names_the_models(tmp_path: Path) -> None:
    out, err = start(tmp_path, "--help").communicate()
    assert (b"model=multivae" in out, err) == (True, b"")


def test_a_reader_that_goes_away_is_no_crash(tmp_path: Path) -> None:
    with start(tmp_path, "--help") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode in {0, 141}


PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""An environment whose terminal has nothing but ASCII."""


def test_letters_that_the_terminal_lacks_are_replaced(tmp_path: Path) -> None:
    letters = ascii("─ ± … β")  # an argument must be ASCII here, too
    code = f"from recsweep.command_line import write_with_any_encoding as w; w(); print({letters})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=False, capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **PLAIN},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (b"- ~ ~ ?\n", b"")


@pytest.mark.slow
def test_a_run_can_be_read_where_the_terminal_is_not_utf_8(tmp_path: Path) -> None:
    line = f"tracking=off model=popularity {SYNTHETIC}"
    out, err = start(tmp_path, line, **PLAIN).communicate()
    lines = out.decode("ascii").splitlines()
    assert set(lines[2]) == {"-"}
    assert "~ 0." in lines[3]
    assert b"Error" not in err


ENDLESS = f"{SYNTHETIC} {NETWORK} model.n_epochs=100000 patience=null"


def wait_for_third_epoch(process: subprocess.Popen[bytes]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(b"epoch   3"):
            return
    raise AssertionError("the run ended early")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_run_that_is_stopped_says_so_and_leaves_no_half_results(
    tmp_path: Path, name: str
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    with start(here, ENDLESS) as process:
        wait_for_third_epoch(process)
        process.send_signal(getattr(signal, name))
        _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    called = {"SIGINT": "Ctrl-C"}.get(name, name)
    last = err.decode().splitlines()[-1]
    assert last == f"error: stopped by {called}; what was tracked until now is kept"
    assert ended_runs(here) == [("KILLED", f"stopped by {called}")]
    assert {path.name for path in here.iterdir()} == {"mlflow.db", "mlartifacts"}


@pytest.mark.slow
def test_a_stopped_run_that_was_not_tracked_does_not_say_that_something_is_kept(
    tmp_path: Path,
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    with start(here, f"{ENDLESS} tracking=off") as process:
        wait_for_third_epoch(process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert err.decode().splitlines()[-1] == "error: stopped by Ctrl-C"
    assert not list(here.iterdir())


def test_an_interrupt_that_python_drops_is_sent_again(tmp_path: Path) -> None:
    code = """
import gc, os, signal, time
from recsweep.command_line import end_politely_on_signals
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
end_politely_on_signals()
def interrupted(*_):
    gc.callbacks.remove(interrupted)
    os.kill(os.getpid(), signal.SIGINT)
gc.callbacks.append(interrupted)
try:
    gc.collect()
    time.sleep(600)
except KeyboardInterrupt:
    print("stopped")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("stopped\n", "")


TWICE = """
import os, signal, sys, time
from recsweep import command_line
from recsweep.tracking import MLflowTracker, write_buffer

def main(*_):
    one = MLflowTracker(uri=None, experiment="e", run_name="r")
    one.__enter__()
    one.log_metrics({"a": 1.0}, step=1)
    raise KeyboardInterrupt("Ctrl-C, twice")

write_buffer.FLUSH_S = 3600
command_line._Run.__call__ = main
sys.argv = ["recsweep", "model=popularity"]
command_line.main()
"""


@pytest.mark.extended
def test_what_a_second_ctrl_c_leaves_unwritten_is_written_before_the_process_ends(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TWICE], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 130, done
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        assert connection.execute("SELECT key, value, step FROM metrics").fetchall() == [
            ("a", 1.0, 1)
        ]


@pytest.mark.slow
def test_a_run_whose_progress_nobody_reads_ends_quietly(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    with start(here, ENDLESS) as process:
        wait_for_third_epoch(process)
        assert process.stderr is not None
        process.stderr.close()
    assert process.returncode == 141
    assert ended_runs(here) == [("KILLED", "stopped because the output is no longer read")]


@pytest.mark.extended
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy
def test_a_project_folder_may_have_any_name_and_may_be_moved(tmp_path: Path) -> None:
    old, new = tmp_path / "my%20proj", tmp_path / "new #1?&;\n('é'"
    line = f"model=popularity {SYNTHETIC}"
    before = run_command(old, line)
    assert before.code == 0, before
    old.rename(new)
    after = run_command(new, line)
    assert after.code == 0, after
    assert {path.name for path in tmp_path.iterdir()} == {new.name, "cache"}
    run_ids = [ended.out.partition("run       ")[2].split()[0] for ended in (before, after)]
    for run_id in run_ids:
        assert (new / "mlartifacts" / run_id / "artifacts" / "model").is_dir()
        lists = f"task=recommend task.run={run_id} task.output={run_id}.txt k=5"
        ended = run_command(new, lists)
        assert ended.code == 0, ended
        said = f"task.run={run_id} is run {run_id}: popularity on synthetic, ndcg@10 "
        assert said in ended.err


def test_a_stream_of_a_notebook_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class OutStream:
        def write(self, text: str) -> int:
            return len(text)

        def flush(self) -> None:
            pass

    ours = OutStream()
    monkeypatch.setattr(sys, "stdout", ours)
    command_line.write_with_any_encoding()
    command_line.flush_output()
    assert sys.stdout is ours


@pytest.mark.slow
def test_spaces_and_other_alphabets_in_paths_are_fine(tmp_path: Path) -> None:
    here = tmp_path / "mein häuschen"
    here.mkdir()
    rows = "".join(f"u{u},i{(u * 7 + n) % 30}\n" for u in range(60) for n in range(12))
    (here / "klicks ä.csv").write_text("user,item\n" + rows, encoding="utf-8")
    line = "data=csv 'data.path=\"klicks ä.csv\"' data.value_column=null model=popularity k=5"
    out, err = start(here, line).communicate()
    assert b"error" not in err, err
    assert f"files     {here}/outputs/" in out.decode()
    assert {path.name for path in here.iterdir()} == {
        "klicks ä.csv", "mlflow.db", "mlartifacts", "outputs",
    }  # fmt: skip


def test_a_configuration_carries_what_was_typed_for_the_model() -> None:
    assert command_line.compose_config("model=ease")["model_name"] == "ease"
    assert command_line.compose_config()["model_name"] == "multivae"
    assert (
        command_line.compose_config("experiment=liang2018", "model=item_knn")["model_name"]
        == "item_knn"
    )
    assert command_line.compose_config("model=ease", "model_name=mine")["model_name"] == "mine"


def test_classes_of_ones_own_folder_are_those_of_its_groups(tmp_path: Path) -> None:
    """Not those of a results folder in it, which may be of somebody else."""
    for name, target in (
        ("model/a.yaml", "mine.Model"),
        ("metrics/b.yaml", "recsweep.metrics.ndcg.NDCG"),
        ("results/config.yaml", "evil.Model"),
        ("config.yaml", "evil.Model"),
        ("data/runs/config.yaml", "evil.Model"),
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"_target_: {target}\n", "utf-8")
    (tmp_path / "model" / "damaged.yaml").write_text("a: [", "utf-8")
    sources = [SimpleNamespace(schema=schema, path=str(tmp_path)) for schema in ("file", "pkg")]
    found = ["mine.Model", "recsweep.metrics.ndcg.NDCG"]
    assert command_line._own_classes(sources[:1]) == found
    assert command_line._own_classes(sources[1:]) == []


@pytest.mark.extended
def test_a_run_is_repeated_on_files_that_have_moved(tmp_path: Path) -> None:
    pairs = [(f"u{u}", f"i{i}") for u in range(60) for i in range(12) if (u * i + u) % 3]
    for name, rest in (("all.csv", range(1, 5)), ("truth.csv", (0,))):
        rows = [f"{u},{i}" for n, (u, i) in enumerate(pairs) if n % 5 in rest]
        (tmp_path / name).write_text("\n".join(["user,item", *rows]) + "\n", "utf-8")
    here = tmp_path / "here"
    data = "data=csv data.value_column=null split=heldout 'k=[5]' tracking=off hydra.run.dir=out"
    files = "data.path='{0}/all.csv' split.path='{0}/truth.csv'"
    assert run_command(here, f"model=popularity {data} {files.format(tmp_path)}").code == 0
    (tmp_path / "moved").mkdir()
    for name in ("all.csv", "truth.csv"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    for choice in ("", "split=heldout "):
        files_now = files.format(tmp_path / "moved")
        again = run_command(here, f"task=reproduce task.run=out/results {choice}{files_now}")
        assert "identical: " in again.out, again.err


def test_a_python_without_what_recsweep_needs_is_told_so() -> None:
    code = "import sys; sys.modules['hydra'] = None; from recsweep.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    start = f"error: recsweep needs the package hydra, but {sys.executable} does not have it; "
    assert done.stderr.startswith(f"{start}activate")
    assert done.stderr.count("\n") == 1
