"""A model on Yelp2018: figures on test, seconds and peak memory, without the first fit.

    python benchmarks/yelp2018.py FOLDER [model=NAME SETTING=VALUE …]

Without a model it is EASE, whose inverse is also held to SGEMM's rate. FOLDER has LightGCN's
`train.txt` and `test.txt`. `refit=true` fits twice, on train alone and on train and validation.
Only the second model is scored on test, so nothing else is fitted here.
"""

import json
import resource
import sys
import time
from typing import Any

from epoch import sgemm_flop_per_s

from recsweep import app
from recsweep.api import load_config
from recsweep.build import validate
from recsweep.experiment import Experiment
from recsweep.models import ease
from recsweep.seeds import Seeds
from recsweep.tracking import NullTracker

N_PRODUCT = 4096


def print_step(name: str, **found: Any) -> None:
    """One line of JSON, with the peak until now."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"step": name, **found, "peak_mib": peak}), flush=True)


def timed_inverse(matrix: Any, label: str) -> Any:
    """The library's inverse between two products."""
    before = sgemm_flop_per_s(N_PRODUCT, n_products=2)
    start = time.perf_counter()
    result = inverse(matrix, label)
    seconds, after = time.perf_counter() - start, sgemm_flop_per_s(N_PRODUCT, n_products=2)
    rates = {"gflop_per_s": len(matrix) ** 3 / seconds / 1e9, "sgemm": [before / 1e9, after / 1e9]}
    print_step("inverse", s=seconds, **rates)
    return result


inverse, ease.negative_inverse = ease.negative_inverse, timed_inverse
config = load_config(
    *(sys.argv[2:] or ["model=ease", "model.l2=300"]),
    "refit=true", "data=lightgcn", f"data.path='{sys.argv[1]}'",
    "k=20", "metrics=[recall_all,ndcg]", "tracking=off",
)  # fmt: skip
settings = validate(app.Settings, config, "")
experiment = Experiment.prepare(settings, NullTracker())
_, rows = experiment.split.without_test()
start = time.perf_counter()
experiment.model.fit(rows, lambda *_: True, Seeds(settings.seed))
print_step("fit", s=time.perf_counter() - start)
start = time.perf_counter()
found = experiment.evaluate_on_test()
seconds = time.perf_counter() - start
print_step("test", s=seconds, **found.means, standard_errors=found.standard_errors)
