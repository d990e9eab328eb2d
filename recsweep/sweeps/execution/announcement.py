"""What a sweep says before its first trial: what is searched, how often, and towards what."""

from collections.abc import Collection, Sequence

from recsweep.sweeps.execution.setup import SweepSettings
from recsweep.sweeps.sampling.samplers import Grid, Sampler
from recsweep.sweeps.space.space import Space


def announce(
    space: Space,
    settings: SweepSettings,
    objectives: Sequence[str],
    sampler: Sampler,
    n_done: int,
    typed: Collection[str],
) -> list[str]:
    """Lines such as `search    model.l2  tag(log,interval(1.0,10000.0))  from search: in YAML`.

    Args:
        space: The search space.
        settings: The group `sweep`.
        objectives: Metrics and times.
        sampler: The sampler.
        n_done: Number of finished trials of earlier commands.
        typed: Keys that the command line searches; the others come from YAML files.
    """
    lines = _searched(space, typed)
    before = f" ({n_done} done before)" if n_done else ""
    n_trials = int(min(settings.n_trials, sampler.n_points(space)))
    trials = f"{n_trials} trial{'s' * (n_trials > 1)}"
    each = {settings.folds: "folds", settings.seeds_per_trial: "seeds"}
    of_each = next((f" of {n} {what}" for n, what in each.items() if n and n > 1), "")
    workers = f"{settings.n_workers} worker{'s' * (settings.n_workers > 1)}"
    budget = f"{trials}{of_each}{before} on {workers}"
    lines.append(f"budget    {budget} for {', '.join(objectives)} on validation users")
    if isinstance(sampler, Grid) and n_trials < settings.n_trials:
        lines.append(
            f"grid      {n_trials} points, so that the sweep ends before its {settings.n_trials} "
            "trials"
        )
    return lines


def _searched(space: Space, typed: Collection[str]) -> list[str]:
    """A line per dimension: its name, its range, and where that is from."""
    keys = {group: group for group in space.groups}
    keys |= {d.name: key for branch in space.branches for key, d in branch.dimensions.items()}
    described = space.describe()
    widths = [max(map(len, column), default=0) for column in (described, described.values())]
    return [
        f"{'' if n else 'search':<10}{name:<{widths[0]}}  {sweep:<{widths[1]}}  from "
        f"{'the command line' if keys[name] in typed else 'search: in YAML'}"
        for n, (name, sweep) in enumerate(described.items())
    ]
