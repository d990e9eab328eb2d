"""What people mistype, as they type it in bash and zsh: one line names the remedy, exit code 1."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable

import pytest
from commands import run_command
from mlflow_runs import ROOT

pytestmark = pytest.mark.extended  # most are held elsewhere, one by one

CLICKS = "data=csv data.path=clicks.csv data.value_column=null"
NOTHING_HELD_OUT = "'k=[10]' split=weak split.test_fraction=0.01 split.valid_fraction=0.01"
RECOMMEND = "task=recommend task.run=run/results 'k=[10]'"
MISTAKES = {
    "modle=ease": "did you mean model?",
    "model=eas": "did you mean model=ease?",
    "model.droput_rate=.2": "did you mean model.dropout_rate?",
    "epochs=5": "did you mean model.n_epochs?",
    "model=ease model.l2=abc": "model.l2 must be a valid number, but is 'abc'",
    "model=ease,popularity": "to search them write python -m recsweep -m model=ease,popularity",
    "'model.beta=interval(0,1)'": "write python -m recsweep -m 'model.beta=interval(0,1)'",
    "'model=[ease,ials]'": "to search with several write python -m recsweep -m model=ease,ials",
    "sweep.n_trials=3": "write python -m recsweep -m sweep.n_trials=3",
    "-m model=ease sweep.n_trails=3": "did you mean sweep.n_trials?",
    "-m model=ease,popularity model.l3=5": "unknown key model.l3; model has dropout_rate, l2",
    "k=5,10": "a single run needs one value of each setting, but k=5,10 has more; write 'k=[5,10]'",
    "-m k=5,10": "give it one value, such as 'k=[5,10]'",
    "-m sweep.objectives=ndcg@10,train_s": "such as 'sweep.objectives=[ndcg@10,train_s]'",
    "model.hidden_dims=600,300": "write 'model.hidden_dims=[600,300]' if they are one list, or to",
    "'k=[0]'": "k[0] must be at least 1, but is 0",
    "'metrics=[ndgc]'": "did you mean metrics=ndcg?",
    "objective=ndcg@7": "at one of the cut-offs 10, 20, 50, 100",
    "model = ease": "write model=VALUE without spaces",
    "+experiment=notebook_multivae": "write experiment=notebook_multivae",
    "--hepl": "did you mean --help?",
    "seed='${oc.env:MYSEED,7}'": "read a variable with 'seed=${oc.decode:${oc.env:NAME}}'",
    "backend=torch": "backend must be 'jax' or 'tensorflow', but is 'torch'",
    "data=csv": "give data.path=FILE",
    "data=csv data.path=nowhere.csv": "nowhere.csv is not there in /",
    "data=csv data.path=/nowhere.csv": "/nowhere.csv is not there; give another path",
    "task=evaluate task.recommendations=no.csv task.truth=tiny.csv": (
        "task.recommendations: cannot read no.csv"
    ),
    "data=csv data.path=folder": "folder is a folder; give the file",
    "data=csv data.path=tiny.csv": "lower data.min_rating or data.min_user_interactions",
    "--config-dir=nix model=ease": "--config-dir must be an existing folder, but",
    "data=csv data.path=semicolons.csv": "with data=csv set 'data.delimiter=\";\"'",
    "data=csv data.delimiter=": "in quotes such as 'data.delimiter=\";\"'",
    "--config-dir=own experiment=x": "experiment must be one of liang2018,",
    "task=best study=nothing": "start one with python -m recsweep -m model=CHOICE",
    "task=recommend task.run=nothing": "there is no",
    "task=ui task.run=nothing": "cd to the folder of mlflow.db or set tracking.uri",
    "task=ui task.port=80000": "task.port must be at most 65535",
    "task=compare": "'task.of=[a,b]'",
    "task=compare task.of=a,b": "write 'task.of=[a,b]'",
    "-m task=compare": "the task is compare; drop -m or task=compare",
    "task=reproduce": "task.run=latest",
    "task=reproduce run_id=latest": "did you mean task.run?",
    "task=compare 'task.run=[a,b]'": "did you mean task.of?",
    "task=best task.run=latest": "did you mean study?",
    "task=best mine": "did you mean study=mine?",
    "task=recommend mine": "did you mean task.run=mine?",
    "task=compare mine": "did you mean 'task.of=[mine]'?",
    "run_id=latest": "task.run is a setting of the tasks recommend, register, reproduce,",
    "task=evaluate": "give task.recommendations=FILE",
    "'metrics=[]'": "at least one choice, but is [], an empty list; write 'metrics=[ndcg,recall]'",
    "model=ease 'metrics=[ ]'": "write 'metrics=[ndcg,recall]'",
    "debug=maybe": "write debug=true or debug=false",
    "'model=[]'": "at least one choice, but is [], an empty list; write model=CHOICE",
    "threads=0": "threads must be at least 1",
    "cache_dir=tiny.csv": "point cache_dir to another folder",
    "hydra.run.dir=/proc/x": "change to another folder or set hydra.run.dir=FOLDER",
    "model=EASE": "did you mean model=ease?",
    "model:ease": "did you mean model=ease?",
    "ease": "did you mean model=ease?",
    "-model=ease": "write model=ease",
    "'~model'": "model must be given, but is missing",
    "data=csv data.path=my data/p.csv": "quote a value with spaces twice",
    'model="ease seed=1"': "write python -m recsweep model=ease seed=1",
    "model=ease --config-dir": "--config-dir must be an existing folder",
    "-m model=ease 'model.l2=interval(10,1)'": "swap or separate its ends",
    "--config-dir=own model=nested": "must begin with # @package _global_",
    "--config-dir=own experiment=overriding": "must begin with # @package _global_",
    "--config-dir=own experiment=unmeasured": "metrics must have at least 1 item, but is [], an e",
    "device=gpu data=synthetic model=popularity": "or set device=cpu",
    f"{CLICKS} model=ease 'k=[10]' data.user_column=id": "set data.user_column=user or",
    f"{CLICKS} model=ease": "set 'k=[10,20,50]'",
    f"{CLICKS} model=ease {NOTHING_HELD_OUT}": "must hold something out",
    "data=synthetic data.n_users=5 model=ease": "hold more out, or use more data",
    f"{RECOMMEND} task.users=spelled.txt": "which writes 'c1' for 'C01'",
    f"{RECOMMEND} task.users=strangers.txt": "whose ids look like 'c",
    f"{RECOMMEND} task.output=run": "task.output must be a new file",
    "tracking.uri=http://127.0.0.1:9 data=synthetic model=popularity": "or tracking=off",
}
FILES = {
    "tiny.csv": "user,item,value\n1,10,5\n2,11,4\n",
    "semicolons.csv": "kunde;artikel\na;b\n",
    "clicks.csv": "user,item\n"
    + "".join(
        f"c{user},s{item}\n" for user in range(60) for item in range(60) if (user * item) % 7 < 2
    ),
    "spelled.txt": "c2\nC01\n",
    "strangers.txt": "1\n2\n",
    "own/model/nested.yaml": "model:\n  _target_: recsweep.models.ease.EASE\n",
    "own/experiment/unmeasured.yaml": "# @package _global_\ndefaults:\n  - override /metrics: []\n",
    "own/experiment/overriding.yaml": "defaults:\n  - override /model: ease\n",
}
TYPE_ALL = """
import json, os, sys, tempfile
from recsweep import command_line
import recsweep.sweeps.sweeper, recsweep.tasks.train  # once for all

answers = {}
for line, words in json.load(sys.stdin).items():
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        if not (child := os.fork()):
            os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
            sys.argv[1:] = words
            command_line.main()
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0), err.seek(0)
        answers[line] = [code, out.read(), err.read()]
json.dump(answers, sys.stdout)
"""


def words_in(shell: str, lines: Iterable[str]) -> dict[str, list[str]]:
    """Each line -> the words that a shell makes of it.

    Args:
        shell: `bash` or `zsh`.
        lines: As typed after `python -m recsweep`.
    """
    script = "\n".join(f"printf '%s\\0' {line}; echo" for line in lines)
    done = subprocess.run([shell, "-c", script], check=True, stdout=subprocess.PIPE, text=True)
    return {
        line: words.split("\0")[:-1]
        for line, words in zip(lines, done.stdout.splitlines(), strict=True)
    }


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """Each line -> exit code, stdout and stderr, of processes that share their imports."""
    folder = tmp_path_factory.mktemp("mistakes")
    for name in ("folder", "own/model", "own/experiment"):
        (folder / name).mkdir(parents=True)
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    trained = run_command(
        folder, f"{CLICKS} model=popularity 'k=[10]' tracking=off hydra.run.dir=run"
    )
    assert trained.code == 0, trained.err
    before = set(folder.rglob("*"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    for name in ("HYDRA_FULL_ERROR", "MLFLOW_TRACKING_URI"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", TYPE_ALL], cwd=folder, env=environment, text=True, check=True,
        input=json.dumps(words_in("bash", MISTAKES)), stdout=subprocess.PIPE,
    )  # fmt: skip
    assert set(folder.rglob("*")) == before, "nothing was written"
    found: dict[str, tuple[int, str, str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_line_with_its_remedy(
    line: str, answers: dict[str, tuple[int, str, str]]
) -> None:
    code, out, err = answers[line]
    assert (code, out) == (1, "")
    answer, *more = [each for each in err.splitlines() if not each.startswith("task.run=run/")]
    assert answer.startswith("error: ")
    assert more == []
    assert MISTAKES[line] in answer


def test_zsh_reads_every_mistake_as_bash_does() -> None:
    if not shutil.which("zsh"):
        pytest.skip("zsh is not installed")
    assert words_in("zsh", MISTAKES) == words_in("bash", MISTAKES)
