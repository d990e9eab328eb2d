"""Compares samplers and pruners at equal budgets, many times, on trials that were recorded once.

    python benchmarks/search_quality.py record STUDY TABLE [--folder SWEEPS]
    python benchmarks/search_quality.py samplers TABLE [--seeds N] [--trials N] [--samplers NAME …]
    python benchmarks/search_quality.py pruners TABLE [--seeds N] [--trials N] [--pruners TEXT …]

`record` writes the complete trials of a finished study to a table: parameters and curve. The study
should have been drawn by `sampler=random pruner=none`. A table's name is MODEL-DATA.csv.

`samplers` asks recsweep's samplers for one trial after the other. What a trial would have reached
is read from a random forest that was fitted to the table, or, with one parameter, from the line
through its trials (a surrogate benchmark, Eggensperger et al. 2015): a search takes seconds, so
that it can be repeated with other seeds. R² of the forest is that on trials its trees did not see.

`pruners` lets the recorded trials run in random orders, one after the other, and asks recsweep's
pruners after every epoch of their recorded curves. Nothing is modelled. Settings other than the
defaults are given as in `hyperband,min_epochs=20`.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from tables import Tables, at_least, existing

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
BUDGETS = (10, 20, 30, 50)
SAMPLERS = ("random", "qmc", "tpe", "cmaes", "gp")
PRUNERS = ("none", "median", "hyperband", "wilcoxon")
N_TREES, N_POINTS = 300, 2_000


def of_group(group: str, name: str, **changes: Any) -> Any:
    """A sampler or pruner with the values of its YAML."""
    from recsweep.build import build
    from recsweep.defaults import conf_folder

    text = (conf_folder() / group / f"{name}.yaml").read_text(encoding="utf-8")
    return build({**yaml.safe_load(text), **changes}, group)


def space_of(model: str) -> Any:
    """The search space that stands in a model's YAML."""
    from recsweep.defaults import conf_folder
    from recsweep.sweeps.space.branch import Branch
    from recsweep.sweeps.space.dimension import dimension
    from recsweep.sweeps.space.space import Space

    text = (conf_folder() / "model" / f"{model}.yaml").read_text(encoding="utf-8")
    lines = [f"{key}={value}" for key, value in yaml.safe_load(text)["search"].items()]
    found = {one.name: one for one in map(dimension, lines)}
    return Space((Branch({}, {"model": {}}, found),))


# --- tables ---------------------------------------------------------------------------------------


def record(study_name: str, table: Path, folder: Path) -> None:
    """Write parameters and curve of each complete trial."""
    from optuna.trial import TrialState

    from recsweep.sweeps.study.catalog import StudyCatalog

    study, _ = StudyCatalog.of({"folder": folder, "storage": None}).load(study_name)
    rows = [
        {
            **trial.params, "value": trial.value,
            "curve": json.dumps([round(value, 6) for value in trial.intermediate_values.values()]),
        }
        for trial in study.get_trials(states=[TrialState.COMPLETE])
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(table, index=False)
    print(f"{table}: {len(rows)} trials")


def curves_of(table: Path) -> list[list[float]]:
    """The values of each trial's epochs."""
    return [json.loads(curve) for curve in pd.read_csv(table)["curve"]]


# --- samplers -------------------------------------------------------------------------------------


def features(space: Any, params: Mapping[str, Any]) -> list[float]:
    """A trial's parameters as numbers; logarithms where they are drawn by them."""
    found = []
    for name, one in space.branches[0].dimensions.items():
        number = float(one.distribution.to_internal_repr(params[name]))
        found.append(np.log(number) if one.is_log else number)
    return found


def surrogate(table: Path, space: Any) -> Callable[[Any], np.ndarray]:
    """What trials would reach, by their features."""
    rows = pd.read_csv(table)
    x = np.array([features(space, row) for row in rows.to_dict("records")])
    y = rows["value"].to_numpy()
    if x.shape[1] == 1:
        order = np.argsort(x[:, 0])
        print(f"the line through {len(x)} trials; best of the table {y.max():.4f}")
        return lambda at: np.interp(np.asarray(at)[:, 0], x[order, 0], y[order])
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(N_TREES, min_samples_leaf=2, oob_score=True, random_state=0)
    forest.fit(x, y)
    print(f"forest of {len(x)} trials: R² {forest.oob_score_:.2f}; best of the table {y.max():.4f}")
    found: np.ndarray = forest.predict
    return found


def best_of_space(space: Any, reached: Callable[[Any], np.ndarray]) -> float:
    """The best of many random points."""
    import optuna

    distributions = {n: one.distribution for n, one in space.branches[0].dimensions.items()}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    points = [features(space, study.ask(distributions).params) for _ in range(N_POINTS)]
    return float(reached(points).max())


def search(name: str, space: Any, reached: Any, seed: int, n_trials: int) -> list[float]:
    """The best value after each trial."""
    from optuna.trial import FrozenTrial, create_trial

    from recsweep.sweeps.sampling.samplers import propose

    sampler, values = of_group("sampler", name), []
    trials: list[FrozenTrial] = []
    for _ in range(n_trials):
        asked = propose(sampler, space, trials, ["maximize"], seed, False)
        if asked is None:
            sys.exit(f"{name} has nothing left to propose")
        values.append(float(reached([features(space, asked.params)])[0]))
        told = create_trial(
            value=values[-1], params=asked.params, distributions=asked.distributions,
            system_attrs=asked.system_attrs,
        )  # fmt: skip
        told.number = asked.number
        trials.append(told)
    best: list[float] = np.maximum.accumulate(values).tolist()
    return best


def samplers(
    table: Path, model: str, names: list[str], seeds: int, n_trials: int, tables: Tables
) -> None:
    """Print the expected best value by number of trials."""
    space = space_of(model)
    reached = surrogate(table, space)
    best = best_of_space(space, reached)
    budgets = [n for n in BUDGETS if n <= n_trials]
    title = (
        f"best of {N_POINTS:,} random points {best:.4f}; means of {seeds} seeds ± standard error"
    )
    heads = [(f"after {n}", ".4f") for n in budgets]
    tables.begin(model, *heads, ("s per proposal", ".2f"), title=title)
    for name in names:
        began = time.perf_counter()
        found = np.array([search(name, space, reached, seed, n_trials) for seed in range(seeds)])
        each_s = (time.perf_counter() - began) / (seeds * n_trials)
        tables.add(name, *(mean_se(found[:, n - 1].tolist()) for n in budgets), each_s)


# --- pruners --------------------------------------------------------------------------------------


def replay(pruner: Any, curves: list[list[float]], limit: float = np.inf) -> tuple[int, float]:
    """Epochs that these trials take in this order, and the best value among complete ones.

    No trial begins after `limit` epochs.
    """
    import optuna

    n_most = max(map(len, curves))
    study = optuna.create_study(direction="maximize", pruner=pruner.make(n_most))
    n_epochs, best = 0, 0.0
    for curve in curves:
        if n_epochs >= limit:
            break
        trial, is_pruned = study.ask(), False
        for epoch, value in enumerate(curve, start=1):
            n_epochs += 1
            trial.report(value, epoch)
            if is_pruned := trial.should_prune():
                break
        state = optuna.trial.TrialState.PRUNED if is_pruned else optuna.trial.TrialState.COMPLETE
        study.tell(trial, None if is_pruned else max(curve), state=state)
        best = best if is_pruned else max(best, *curve)
    return n_epochs, best


def pruner_of(text: str) -> Any:
    """The pruner of a name and perhaps other settings, `NAME,KEY=NUMBER,…`."""
    name, *changes = text.split(",")
    pairs = (change.split("=") for change in changes)
    return of_group("pruner", name, **{key: yaml.safe_load(value) for key, value in pairs})


def pruners(table: Path, names: list[str], seeds: int, n_trials: int, tables: Tables) -> None:
    """Print epochs and best value of the same trials, and the best value of the same epochs."""
    curves = curves_of(table)
    orders = [
        [curves[i] for i in np.random.default_rng(seed).permutation(len(curves))]
        for seed in range(seeds)
    ]
    limit = n_trials * statistics.mean(map(len, curves))
    title = f"{len(curves)} trials in {seeds} random orders; means ± standard error"
    heads = ((f"{n_trials} trials: epochs", ".0%"), ("best", ".4f"))
    tables.begin("pruner", *heads, (f"in {limit:.0f} epochs: best", ".4f"), title=title)
    for name in names:
        pruner = pruner_of(name)
        same = [replay(pruner, order[:n_trials]) for order in orders]
        share = sum(n for n, _ in same) / sum(len(c) for order in orders for c in order[:n_trials])
        equal = [replay(pruner, order, limit)[1] for order in orders]
        tables.add(name, share, mean_se([b for _, b in same]), mean_se(equal))


def mean_se(values: list[float]) -> tuple[float, float]:
    """Mean and standard error."""
    return statistics.mean(values), statistics.stdev(values) / len(values) ** 0.5


def main() -> None:
    """Record a study, or compare on its table."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    recorded = commands.add_parser("record")
    recorded.add_argument("study")
    recorded.add_argument("table", type=Path)
    recorded.add_argument("--folder", type=Path, default=Path("sweeps"))
    for name in ("samplers", "pruners"):
        command = commands.add_parser(name)
        command.add_argument(
            "table", type=existing(), help="its name begins with the model's, and a -"
        )
        command.add_argument("--seeds", type=at_least(1), default=10)
        command.add_argument("--trials", type=at_least(1), default=50)
        known = SAMPLERS if name == "samplers" else PRUNERS
        command.add_argument(f"--{name}", nargs="+", default=known)
        Tables.add_option(command)
    given = parser.parse_args()
    if given.command == "record":
        return record(given.study, given.table, given.folder)
    with Tables(given.json) as tables:
        if given.command == "pruners":
            pruners(given.table, given.pruners, given.seeds, given.trials, tables)
        else:
            model = given.table.name.partition("-")[0]
            samplers(given.table, model, given.samplers, given.seeds, given.trials, tables)
    return None


if __name__ == "__main__":
    main()
