"""Breaks one line at a time and runs the tests of that module: which breaks does no test notice?

    python benchmarks/mutants.py [--sample N] [--seed N] [--only TEXT] [--minutes N] [--log FILE]
                                 [--part I/N]

A mutant changes one comparison, operator, `and`/`or`/`not`, number, truth value or `return` of a
module of `AREAS`; annotations, messages and docstrings stay. It is killed if a test of the module
fails, if they cannot be collected, or if they take more than five minutes: those of its own test
file, then the tests of what it is a part of. The sample is drawn from a seed, in a random order, so
that a run cut short by --minutes is a sample, too; --part 1/2 and --part 2/2 share it between two
processes. mutmut 3.8 does not start here: it imports the package before jaxtyping's hook can check
it.

Works in a copy of the checkout. Tests run in forked processes that have the libraries loaded.
"""

import argparse
import ast
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODEL = ("test_contracts.py", "test_degenerate_data.py", "training/test_slot_engine.py")
SPLIT = ("data/splits", "data/test_split.py", "data/test_leaks.py", "data/test_tuning_folds.py")
TRAINING = ("training", "models/test_multivae.py", "models/test_bpr.py")
COMPARISON = ("comparison", "tasks/test_compare.py", "sweeps/test_study_comparison.py")
STORED = ("test_contracts.py", "test_hostile_runs.py", "runs", "tasks/test_recommend.py")
AREAS = {
    "metrics/*.py": ("metrics",),
    "data/splits/*.py": SPLIT, "data/holdout_draw.py": SPLIT,
    "models/multidae.py": MODEL, "models/multivae.py": MODEL, "models/recvae.py": MODEL,
    "models/bpr.py": MODEL, "models/elsa.py": MODEL,
    "training/layers.py": TRAINING, "training/phases.py": TRAINING,
    "training/schedules.py": TRAINING, "training/triples.py": TRAINING,
    "training/batches.py": TRAINING,
    "sweeps/study/claims.py": ("sweeps/study",), "sweeps/study/final_claims.py": ("sweeps/study",),
    "sweeps/sampling/*.py": ("sweeps/sampling",),
    "comparison/significance.py": COMPARISON, "comparison/statistics.py": COMPARISON,
    "comparison/contenders.py": COMPARISON, "comparison/fairness.py": COMPARISON,
    "persistence.py": STORED,
}  # fmt: skip
"""Modules below `recsweep` -> the tests, below `tests`, of what they are a part of."""
COPIED = ("recsweep", "conf", "tests", "hydra_plugins", "pyproject.toml")
LIBRARIES = (
    "pytest", "numpy", "scipy.sparse", "scipy.stats", "pandas", "pyarrow.dataset", "pydantic",
    "optuna", "hydra", "omegaconf", "beartype", "ir_measures", "jax",
)  # fmt: skip
COMPARE = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
ARITHMETIC = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}  # fmt: skip
OPTIONS = (
    "-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning",
    "-k", "not ranx",  # which takes seconds to load; ir_measures judges the same metrics
)  # fmt: skip
LIMIT_S = 300


@dataclass(frozen=True)
class Mutant:
    """One changed place of a module.

    Args:
        module: Its path below `recsweep`.
        place: The number of the place, in the order of `places`.
        line: For the report.
    """

    module: Path
    place: int
    line: int


def places(tree: ast.Module) -> Iterator[tuple[int, Callable[[], str]]]:
    """Each place that can be changed: its line, and what changes it and says how."""
    for node in walk(tree):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARE:
            yield node.lineno, lambda node=node: change_operator(node, COMPARE)
        elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in ARITHMETIC:
            yield node.lineno, lambda node=node: change_operator(node, ARITHMETIC)
        elif isinstance(node, ast.BoolOp):
            yield node.lineno, lambda node=node: change_bool(node)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
            yield node.lineno, lambda node=node: drop_sign(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
            yield node.lineno, lambda node=node: change_constant(node)
        elif isinstance(node, ast.Return) and not is_nothing(node.value):
            yield node.lineno, lambda node=node: change_return(node)


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes that can matter to a test: no annotation, message or decorator."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list"} or isinstance(
            node, ast.Raise | ast.JoinedStr
        ):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from walk(child)


def is_nothing(value: ast.expr | None) -> bool:
    """Whether a `return` gives None already."""
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


def change_operator(node: ast.AST, table: dict[type, type]) -> str:
    """Replace the operator; says which by which."""
    is_compare = isinstance(node, ast.Compare)
    was = node.ops[0] if is_compare else node.op
    now = table[type(was)]()
    if is_compare:
        node.ops[0] = now
    else:
        node.op = now
    return f"{type(was).__name__} -> {type(now).__name__}"


def change_bool(node: ast.BoolOp) -> str:
    """`and` becomes `or`, and the reverse."""
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    return f"-> {type(node.op).__name__}"


def drop_sign(node: ast.UnaryOp) -> str:
    """`not x`, `-x` and `~x` become `+x`, which is x."""
    was = type(node.op).__name__
    node.op = ast.UAdd() if not isinstance(node.op, ast.Not) else ast.Not()
    if was == "Not":
        node.operand = ast.UnaryOp(ast.Not(), node.operand)
    return f"no {was}"


def change_constant(node: ast.Constant) -> str:
    """A truth value becomes the other, a number one more."""
    was = node.value
    node.value = not was if isinstance(was, bool) else was + 1
    return f"{was} -> {node.value}"


def change_return(node: ast.Return) -> str:
    """The result becomes None."""
    node.value = ast.Constant(None)
    return "return None"


def all_mutants(only: str) -> list[Mutant]:
    """Every mutant of every module."""
    found = []
    for pattern in AREAS:
        for file in sorted((ROOT / "recsweep").glob(pattern)):
            module = file.relative_to(ROOT / "recsweep")
            if only in str(module) and file.stem != "__init__":
                lines = [line for line, _ in places(ast.parse(file.read_text(encoding="utf-8")))]
                found += [Mutant(module, place, line) for place, line in enumerate(lines)]
    return found


def tests_of(module: Path) -> tuple[list[str], list[str]]:
    """The module's own test file, if it has one, and further tests; below the checkout."""
    further = next(tests for pattern, tests in AREAS.items() if module.match(pattern))
    own = Path("tests", module.parent, f"test_{module.name}")
    return [str(own)] * (ROOT / own).exists(), [f"tests/{each}" for each in further]


def passes(tests: list[str], limit_s: float) -> bool | None:
    """Whether the tests pass in a process of their own; None = they took too long."""
    if not (child := os.fork()):
        os.setpgid(0, 0)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        import pytest

        os._exit(int(pytest.main([*OPTIONS, *tests])) != 0)
    ends = time.monotonic() + limit_s
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def run_mutant(mutant: Mutant, copy: Path, number: int) -> str:
    """Whether its tests kill a mutant, and what it changed."""
    file = copy / "recsweep" / mutant.module
    original = file.read_text(encoding="utf-8")
    tree = ast.parse(original)
    how = list(places(tree))[mutant.place][1]()
    try:
        file.write_text(ast.unparse(ast.fix_missing_locations(tree)), encoding="utf-8")
        os.utime(file, (number, number))  # or Python takes what it compiled of the mutant before
        survives = True
        for tests in filter(None, tests_of(mutant.module)):
            survives = survives and passes(tests, LIMIT_S)
        outcome = {True: "SURVIVED", False: "killed", None: "timeout"}[survives]
    finally:
        file.write_text(original, encoding="utf-8")
        os.utime(file, (number + 1, number + 1))
    return f"{outcome:8}  {mutant.module}:{mutant.line}  {how}"


def copy_checkout(copy: Path) -> None:
    """What git tracks, as it is now."""
    listed = subprocess.run(
        [shutil.which("git") or "git", "ls-files", "-z", *COPIED],
        cwd=ROOT, capture_output=True, check=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)


def main() -> None:
    """Run a sample and print what came of each, then the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sample", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="modules whose path has this text")
    parser.add_argument("--minutes", type=float, default=600)
    parser.add_argument("--log", type=Path, default=Path(os.devnull))
    parser.add_argument("--part", default="1/1", help="which of how many parts of the sample")
    given = parser.parse_args()
    part, n_parts = map(int, given.part.split("/"))
    found = all_mutants(given.only)
    sample = random.Random(given.seed).sample(found, min(given.sample, len(found)))  # noqa: S311
    sample = sample[part - 1 :: n_parts]
    began, counts = time.monotonic(), Counter[str]()
    ends = began + 60 * given.minutes
    os.environ["JAX_PLATFORMS"] = "cpu"
    with tempfile.TemporaryDirectory() as folder, given.log.open("w", encoding="utf-8") as log:
        copy = Path(folder).resolve()
        copy_checkout(copy)
        os.chdir(copy)
        sys.path[:] = [str(copy), *(p for p in sys.path if p and Path(p).resolve() != ROOT)]
        for name in LIBRARIES:
            __import__(name)
        tests = sorted({t for mutant in sample for each in tests_of(mutant.module) for t in each})
        if not passes(tests, 3600):
            raise SystemExit("the tests must pass before anything is broken, but do not")
        print(f"{len(tests)} test files pass; {time.monotonic() - began:.0f} s", flush=True)
        for number, mutant in enumerate(sample):
            if time.monotonic() > ends:
                break
            said = run_mutant(mutant, copy, 10**9 + 2 * number)
            counts[said.split()[0]] += 1
            print(said, file=log, flush=True)
            print(said, flush=True)
    n_killed = counts["killed"] + counts["timeout"]
    print(
        f"{counts.total()} of {len(found):,} mutants, seed {given.seed}: {n_killed} killed "
        f"({counts['timeout']} by the time limit), {counts['SURVIVED']} survived, "
        f"{n_killed / max(counts.total(), 1):.1%} killed"
    )


if __name__ == "__main__":
    main()
