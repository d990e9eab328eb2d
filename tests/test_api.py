"""The Python API gives what the command line gives, and as often as it is asked."""

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import run_command
from compiled_programs import cache_in
from small_runs import SMALL_DATA, metrics

import recsweep
from recsweep.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
EASE = ("model=ease", *SMALL_DATA, "tracking=off")


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own to be in, with its cache beside it."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def test_a_fit_scores_and_recommends_what_the_command_line_does(in_folder: Path) -> None:
    cache = f"cache_dir={cache_in(in_folder)}"
    ended = run_command(in_folder / "run", f"{' '.join(EASE)} hydra.run.dir=.")
    assert ended.code == 0, ended.err
    told = metrics(in_folder / "run")

    config = recsweep.load_config(*EASE, cache)
    split = recsweep.load_split(config)
    fit = recsweep.fit(config, split)
    assert fit.valid.means == told["valid"]["mean"]
    assert fit.best_epoch == told["best_epoch"] == 1
    assert fit.curves.index.tolist() == [1]
    found = recsweep.evaluate(fit, split.test)
    assert found.means == told["test"]["mean"]

    history = split.test.history[:1].indices
    user = pd.DataFrame({"user": "somebody", "item": split.item_ids[history]})
    lists = recsweep.recommend(fit, user, k=3)
    assert lists["user"].tolist() == ["somebody"] * 3
    assert lists["rank"].tolist() == [1, 2, 3]
    scores = np.array(fit.model.score(split.test.history[:1]))[0]
    scores[history] = -float("inf")
    assert lists["item"].tolist() == split.item_ids[scores.argsort()[::-1][:3]].tolist()


def test_without_a_split_the_configurations_own_is_taken(in_folder: Path) -> None:
    config = recsweep.load_config(*EASE, f"cache_dir={cache_in(in_folder)}")
    fit = recsweep.fit(config)
    assert fit.fitted.split_fingerprint == recsweep.load_split(config).fingerprint


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.l3=1", "l3"),
        ("model=eese", "ease"),
        ("seed=one", "seed must be a valid integer"),
    ],
)
def test_a_mistake_is_the_line_of_the_command_line(override: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected) as caught:
        recsweep.load_split(recsweep.load_config(*EASE, override))
    assert "\n" not in str(caught.value)
    assert "hydra.errors" not in "".join(traceback.format_exception(caught.value))


def test_a_folder_of_ones_own_may_have_any_name(in_folder: Path) -> None:
    place = in_folder / "mine, [für] (1)"
    (place / "model").mkdir(parents=True)
    (place / "model" / "own.yaml").write_text(
        "# @package _global_\nmodel:\n  _target_: recsweep.models.popularity.Popularity\n"
    )
    config = recsweep.load_config("model=own", *SMALL_DATA, config_dir=place)
    assert config["model"] == {"_target_": "recsweep.models.popularity.Popularity"}
    assert config["model_name"] == "own"


def test_a_refit_is_the_command_lines(in_folder: Path) -> None:
    line = (*EASE, "refit=true")
    ended = run_command(in_folder / "run", f"{' '.join(line)} hydra.run.dir=.")
    assert ended.code == 0, ended.err
    config = recsweep.load_config(*line, f"cache_dir={cache_in(in_folder)}")
    split = recsweep.load_split(config)
    found = recsweep.evaluate(recsweep.fit(config, split), split.test)
    assert found.means == metrics(in_folder / "run")["test"]["mean"]


def test_a_folder_of_ones_own_must_be_there(in_folder: Path) -> None:
    with pytest.raises(InputError, match="config_dir must be a folder"):
        recsweep.load_config(*EASE, config_dir=in_folder / "absent")


def test_interactions_are_those_that_the_filters_leave(in_folder: Path) -> None:
    cache = f"cache_dir={cache_in(in_folder)}"
    (in_folder / "stars.csv").write_text(
        "user,item,value\nu,a,5\nu,b,2\nv,a,4\nw,c,1\n", encoding="utf-8"
    )
    data = ("data=csv", f"data.path={in_folder}/stars.csv", "data.min_user_interactions=1", cache)
    table = recsweep.load_interactions(recsweep.load_config(*data, "data.min_rating=4"))
    assert table.to_dict("list") == {"user": ["u", "v"], "item": ["a", "a"], "value": [5, 4]}
    assert len(recsweep.load_interactions(recsweep.load_config(*data))) == 4


def test_data_that_come_split_have_no_interactions(shared_data: Path, in_folder: Path) -> None:
    if not shared_data.is_dir():
        pytest.skip("../shared/data is not there")
    config = recsweep.load_config(
        "data=lightgcn", f"data.path={shared_data}/yelp2018", f"cache_dir={in_folder}"
    )
    with pytest.raises(InputError, match="comes already split; see its parts with"):
        recsweep.load_interactions(config)


def test_a_file_of_recommendations_is_worth_what_its_model_is(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = recsweep.load_config(*EASE, f"cache_dir={cache_in(in_folder)}")
    split = recsweep.load_split(config)
    fit = recsweep.fit(config, split, progress=False)
    assert capsys.readouterr() == ("", "")
    shown, target = split.test.history.tocoo(), split.test.target.tocoo()
    users, items = split.test.user_ids, split.item_ids
    histories = pd.DataFrame({"user": users[shown.row], "item": items[shown.col]})
    lists = recsweep.recommend(fit, histories, k=10)
    with (in_folder / "lists.txt").open("w", encoding="utf-8") as file:
        for user, best in lists.groupby("user")["item"]:
            print(user, *best, file=file)
    hidden = pd.DataFrame({"user": users[target.row], "item": items[target.col]})
    hidden.to_csv(in_folder / "hidden.csv", index=False)
    of_file = recsweep.evaluate_file(config, in_folder / "lists.txt", in_folder / "hidden.csv")
    of_model = recsweep.evaluate(fit, split.test)
    for name in of_file.means:
        assert of_file.means[name] == pytest.approx(of_model.means[name], rel=1e-12), name
    assert {*of_model.means} - {*of_file.means} == {"coverage@5", "coverage@10"}


@pytest.mark.parametrize("launcher", ["basic", pytest.param("joblib", marks=pytest.mark.extended)])
def test_a_sweep_is_quiet_when_asked_and_its_study_is_a_table_and_optunas(
    launcher: str, in_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = recsweep.sweep(
        *EASE, f"cache_dir={cache_in(in_folder)}", f"hydra/launcher={launcher}", "sweep.n_trials=2",
        "sweep.n_workers=1", "sweep.final_seeds=1", "sampler=random", progress=False,
    )  # fmt: skip
    assert capfd.readouterr() == ("", ""), "nor do its workers write"
    study = recsweep.load_study(result.only.name)
    assert str(study).splitlines()[0].split()[:2] == ["rank", "trial"]
    values = [trial.value for trial in study.optuna_study().trials]
    assert values == study.trials["ndcg@10"].tolist()


@pytest.mark.extended
@pytest.mark.parametrize(("override", "n"), [("sweep.folds=3", 3), ("sweep.seeds_per_trial=2", 1)])
def test_a_sweep_takes_folds_and_seeds(in_folder: Path, override: str, n: int) -> None:
    """EASE draws no random number, so that one seed is enough."""
    result = recsweep.sweep(
        *EASE, f"cache_dir={cache_in(in_folder)}", "hydra/launcher=basic", "sweep.n_trials=2",
        "sweep.final_seeds=1", "sampler=random", override, progress=False,
    )  # fmt: skip
    trials = result.trials
    if n == 1:
        assert "ndcg@10_replicates" not in trials
        return
    for _, row in trials.iterrows():
        assert len(row["ndcg@10_replicates"]) == n
        assert row["ndcg@10"] == pytest.approx(sum(row["ndcg@10_replicates"]) / n, rel=1e-12)
    assert "±" in str(result.only)
    assert result.test is not None


SCRIPT = """
import json, os, sys, yaml
import recsweep
before = dict(os.environ)

def search(n_trials, *more):
    return recsweep.sweep(
        "model=ease", "data=synthetic", "data.n_users=120", "data.n_items=50", "k=[5,10]",
        "model.l2=tag(log,interval(1,1000))", f"sweep.n_trials={n_trials}", "sweep.n_workers=2",
        "sampler=random", "tracking=off", f"cache_dir={sys.argv[1]}", *more,
    )

first, again = search(2), search(3)
both = recsweep.sweep(
    "model=ease,popularity", "data=synthetic", "data.n_users=120", "data.n_items=50", "k=[5,10]",
    "sweep.n_trials=1", "tracking=off", f"cache_dir={sys.argv[1]}",
)
alone = recsweep.load_study(again.only.name)
file = again.only.folder / "results" / "optimization_results.yaml"
table = recsweep.compare(*both.studies.values(), metrics=["ndcg@10"], n_resamples=100)
print(json.dumps({
    "trials": [first.trials["trial"].tolist(), again.trials["trial"].tolist()],
    "states": again.trials["state"].tolist(),
    "best": [again.best, alone.best],
    "overrides": again.only.best_overrides,
    "objective": again.only.objectives,
    "test": again.test.loc["ndcg@10", "mean"],
    "runs": [run.joinpath("metrics.json").is_file() for run in again.only.runs],
    "names": [first.only.name == again.only.name, alone.name == again.only.name],
    "both": sorted(both.trials["study"].str.partition("-")[0]),
    "pages": [folder.joinpath("comparison.html").is_file() for folder in both.comparisons],
    "resume": yaml.safe_load(file.read_text())["resume"],
    "types": sorted({type(value).__name__ for value in again.trials["model.l2"]}),
    "environment": dict(os.environ) == before,
    "pairs": table.pairs[["metric", "a", "b"]].values.tolist(),
}), file=open("found.json", "w"))
"""


@pytest.mark.extended
def test_a_plain_script_searches_several_times(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py", str(cache_in(tmp_path))], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["trials"] == [[0, 1], [0, 1, 2]], "the second call went on with the first's study"
    assert found["states"] == ["complete"] * 3
    assert found["best"][0] == found["best"][1]
    assert set(found["best"][0]) == {"model.dropout_rate", "model.l2"}, "the YAML searches one, too"
    assert f"model.l2={found['best'][0]['model.l2']}" in found["overrides"]
    assert found["objective"] == ["ndcg@10"]
    assert 0 < found["test"] < 1
    assert found["runs"] == [True] * len(found["runs"]) != []
    assert found["names"] == [True, True]
    assert found["both"] == ["ease", "popularity"]
    assert found["pages"] == [True]
    assert found["types"] == ["float"]
    assert found["environment"]
    assert found["resume"].startswith("python -m recsweep -m model=ease data=synthetic ")
    ((metric, *pair),) = found["pairs"]
    assert (metric, sorted(pair)) == ("ndcg@10", ["ease", "popularity"])


HOST = """
import gc, logging, os, random, signal, sys
from dataclasses import dataclass

import hydra
import numpy as np
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.version import VersionBase

import recsweep

@dataclass
class Config:
    options: list[str]

ConfigStore.instance().store(name="config", node=Config)
ConfigStore.instance().store(name="ease", group="model", node=Config)
signal.signal(signal.SIGTERM, lambda *_: None)

def state():
    logs = [log for log in logging.root.manager.loggerDict.values() if hasattr(log, "level")]
    return {
        "hydra": (id(GlobalHydra.instance().hydra), id(HydraConfig.get()), HydraConfig.instance(),
                  id(ConfigStore.instance()), VersionBase.instance().getbase()),
        "job": (HydraConfig.get().job.name, HydraConfig.get().runtime.output_dir),
        "logs": ([(id(each), each.level) for each in logging.root.handlers], logging.root.level),
        "levels": [log.name for log in logs if log.level >= logging.ERROR and log.name != "py4j"],
        "signals": [signal.getsignal(number) for number in range(1, 16)],
        "random": (random.getstate(), repr(np.random.get_state())),
        "hooks": (sys.excepthook, sys.unraisablehook, sys.stdout, sys.stderr, sys.argv[:]),
        "folder": os.getcwd(),
        "garbage": gc.get_threshold(),
        "environment": {name: text for name, text in os.environ.items() if name in first},
    }

first = dict(os.environ)

@hydra.main(config_path="settings", config_name="config", version_base="1.2")
def main(host):
    logging.getLogger("host").info("starts")
    before = state()
    for n_trials in (1, 2):
        config = recsweep.load_config(*host.options, config_dir="settings")
        split = recsweep.load_split(config)
        fit = recsweep.fit(config, split)
        recsweep.evaluate(fit, split.test)
        environment = dict(os.environ)
        result = recsweep.sweep(
            *host.options, f"sweep.n_trials={n_trials}", "sweep.n_workers=1", "sampler=random",
            progress=n_trials == 1,
        )
        assert dict(os.environ) == environment
        assert len(recsweep.load_study(result.only.name).trials) == n_trials
        now = state()
        for name in before:
            assert now[name] == before[name], name
    logging.getLogger("host").info("ends")

main()
"""


@pytest.mark.extended
@pytest.mark.parametrize(
    "options", [("hydra/launcher=basic", "tracking=off"), ("tracking=mlflow",)]
)
def test_a_program_that_runs_in_hydra_itself_is_left_as_it_was(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    line = ["model=ease", *SMALL_DATA, f"cache_dir={cache_in(tmp_path)}", *options]
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "config.yaml").write_text(json.dumps({"options": line}), "utf-8")
    (tmp_path / "host.py").write_text(HOST, encoding="utf-8")
    # what other tests of this process have chosen for the backend; `fit` chooses it for a process
    chosen = ("JAX_", "KERAS_", "NPROC", "RECSWEEP_", "TF_", "XLA_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(chosen)}
    done = subprocess.run(
        [sys.executable, "host.py", "hydra.run.dir=run"], cwd=tmp_path,
        env={**kept, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "run" / "host.log").read_text("utf-8").splitlines()
    assert [line for line in lines if "jax" not in line] == [lines[0], lines[-1]], "only its own"
    assert {file.name for file in (tmp_path / "run").iterdir()} == {".hydra", "host.log"}


@pytest.mark.extended  # make docs runs it as it stands
def test_the_readmes_example_runs(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## From Python")[2]
    code = text.partition("```python\n")[2].partition("```")[0]
    small = ", ".join(f'"{each}"' for each in (*SMALL_DATA, "tracking=off"))
    small += f', "cache_dir={cache_in(tmp_path)}"'
    code = code.replace('"data=ml-100k"', small).replace("n_trials=10", "n_trials=2")
    code = code.replace("ndcg@100", "ndcg@10")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "item_knn" in done.stdout
