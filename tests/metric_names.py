"""The metrics of `conf/metrics` by name."""

from recsweep.defaults import build_choice, conf_folder
from recsweep.metrics.metric import Metric, UserMetric

METRICS: dict[str, Metric] = {
    file.stem: build_choice("metrics", file.stem)
    for file in sorted((conf_folder() / "metrics").glob("*.yaml"))
}
PER_USER = [name for name, metric in METRICS.items() if isinstance(metric, UserMetric)]
OF_CATALOG = [name for name in METRICS if name not in PER_USER]


def definitions() -> dict[str, str]:
    """Name of each metric -> what it means."""
    return {name: metric.definition for name, metric in METRICS.items()}
