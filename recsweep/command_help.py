"""`--help`: groups, settings and tasks, read from the YAML files and their comments."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from recsweep.defaults import conf_folder, main_file
from recsweep.shell import COMMAND

HEAD = f"""\
recsweep trains and compares recommenders that learn from implicit feedback.

usage: {COMMAND} [GROUP=CHOICE ...] [KEY=VALUE ...]    (installed also as: recsweep)

  {COMMAND} model=multivae                      train, choose the best epoch, score test once
  {COMMAND} model=ease data=ml-1m model.l2=300  another model, data set, setting
  {COMMAND} data=csv data.path=clicks.csv       your own data, Parquet too
  {COMMAND} -m model=multivae                   search the model's hyperparameters
  {COMMAND} -m model=multivae,ease sweep=quick  several models, equal budgets, compared
  {COMMAND} task=recommend                      lists of the latest run's model
"""
FOOT = f"""\
More:  {COMMAND} GROUP=CHOICE --help   the settings of a choice, such as model=ease or task=compare
       {COMMAND} GROUP=CHOICE --cfg job   the whole configuration, without running it
       {COMMAND} --version, --hydra-help
"""
GROUPS = {
    "model": "what is trained",
    "data": "which interactions are read",
    "split": "what is held out",
    "transform": "how interaction values are transformed",
    "metrics": "what is measured; several: 'metrics=[ndcg,map]'",
    "optimizer": "how models with gradients are trained",
    "experiment": "recipes: settings of several groups at once",
    "tracking": "where curves and scores are logged",
    "sweep": "how much is searched, with -m",
    "sampler": "which values the next trial gets, with -m",
    "pruner": "when a trial is stopped early, with -m",
    "task": "what is done; train unless another is named",
}
"""The groups of `conf/`, in the order of the help, with what each is for."""

_SETTING = re.compile(
    r"^(?P<indent> *)(?P<key>[\w.\-]+):(?P<value>.*?)(?:\s+#\s?(?P<meaning>.*))?$"
)
_HIDDEN = ("_target_", "sha256", "member", "wheel", "n_ratings", "url")
"""Keys that users do not set."""


@dataclass(frozen=True)
class Setting:
    """A key of a YAML file.

    Args:
        key: Its whole name, such as `model.l2`.
        default: Its value as written.
        meaning: Its comment; may be empty.
    """

    key: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Choice:
    """A YAML file of a group, as documentation.

    Args:
        description: The comment at its top.
        settings: Its keys, in its order.
        notes: The comment at its end; may be empty.
    """

    description: str
    settings: list[Setting]
    notes: str


# --- YAML files -----------------------------------------------------------------------------------


def read_choice(file: Path, group: str) -> Choice:
    """Read a file of a group, such as `conf/model/ease.yaml`.

    Args:
        file: The file.
        group: Its group; empty = `config.yaml` itself.
    """
    lines = file.read_text(encoding="utf-8").splitlines()
    top = [line.lstrip("# ") for line in takewhile(lambda line: line.startswith("#"), lines)]
    package = next((line.split()[1] for line in top if line.startswith("@package")), group)
    end = takewhile(lambda line: line.startswith("#"), reversed(lines[len(top) :]))
    return Choice(
        " ".join(line for line in top if not line.startswith("@package")),
        list(_settings(lines[len(top) :], package.replace("_global_", ""))),
        " ".join(line.lstrip("# ") for line in reversed(list(end))),
    )


def _settings(lines: Sequence[str], package: str) -> Iterator[Setting]:
    """Keys with values; an indented line that is only a comment continues the one above."""
    above: list[tuple[int, str]] = [(-1, package)] if package else []
    last: Setting | None = None
    for line in lines:
        if line.startswith(" ") and line.lstrip().startswith("#") and last:
            last = Setting(last.key, last.default, f"{last.meaning} {line.lstrip(' #')}")
            continue
        found = _SETTING.match(line)
        if found is None or line.startswith("#"):
            continue
        if last:
            yield last
            last = None
        indent, key, value = len(found["indent"]), found["key"], found["value"].strip()
        while above and above[-1][0] >= indent:
            above.pop()
        above.append((indent, key))
        path = [name for _, name in above]
        if value and not set(path) & set(_HIDDEN):
            last = Setting(".".join(path), value, found["meaning"] or "")
    if last:
        yield last


def top_settings() -> list[Setting]:
    """The keys of `config.yaml` that are not groups."""
    found = read_choice(main_file(), "").settings
    return [each for each in found if not each.key.startswith("hydra")]


def choice_folders(config_dir: str | None) -> list[Path]:
    """Folders with YAML files of choices, your own first."""
    return [*([Path(config_dir)] if config_dir else []), conf_folder()]


def files_of(group: str, folders: Sequence[Path]) -> dict[str, Path]:
    """Choices of a group -> their files; the first folder that has one wins.

    Args:
        group: Such as `model`.
        folders: Configuration folders, your own first.
    """
    found = [file for folder in reversed(folders) for file in (folder / group).glob("*.yaml")]
    return dict(sorted((file.stem, file) for file in found))


# --- text -----------------------------------------------------------------------------------------


def help_text(arguments: Sequence[str], config_dir: str | None = None) -> str:
    """What `--help` prints.

    Args:
        arguments: The other arguments: `model=ease` asks for that choice's settings.
        config_dir: A folder with YAML files of your own.
    """
    folders = choice_folders(config_dir)
    asked = [
        (group, files_of(group, folders)[choice])
        for group, _, choice in (each.partition("=") for each in arguments)
        if group in GROUPS and choice in files_of(group, folders)
    ]
    if asked:
        return "\n".join(_choice_text(group, file) for group, file in asked)
    parts = [HEAD, "Groups:\n"]
    for group, meaning in GROUPS.items():
        names = ", ".join(files_of(group, folders))
        parts.append(f"  {group:<11}{names}\n  {'':<11}  {meaning}")
    parts += ["\nSettings:\n", *_table(top_settings())]
    for group, choice in (("model", "multivae"), ("sweep", "standard")):
        parts += [f"\nSettings of {group}={choice}, the default:\n"]
        parts += _table(read_choice(files_of(group, folders)[choice], group).settings)
    return "\n".join([*parts, "", FOOT])


def _choice_text(group: str, file: Path) -> str:
    """A choice's description, settings and notes."""
    choice = read_choice(file, group)
    lines = [f"{group}={file.stem}: {choice.description}", ""]
    lines += _table(choice.settings) or ["  It has no settings."]
    return "\n".join([*lines, *(["", choice.notes] if choice.notes else []), ""])


def _table(settings: Sequence[Setting]) -> list[str]:
    """A line per setting: key, default, meaning."""
    shown = [(each.key, each.default, each.meaning) for each in settings]
    wide = [max((len(row[column]) for row in shown), default=0) for column in (0, 1)]
    return [
        f"  {key:<{wide[0]}}  {default:<{min(wide[1], 24)}}  {meaning}".rstrip()
        for key, default, meaning in shown
    ]
