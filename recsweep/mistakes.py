"""Mistakes in a command line, each explained in one line that says what to type instead."""

import argparse
import errno
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from os.path import isfile  # which raises no error
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf

from recsweep.app import FILES
from recsweep.argument_hints import NAMED_BY, RUN, SEVERAL, Groups, explain_unparsed, task_of
from recsweep.errors import InputError
from recsweep.known_keys import LISTS, resolve_synonym, unknown_key
from recsweep.messages import closest, one_line, shorten, suggest
from recsweep.shell import COMMAND

DASHES, QUOTES = "–—‐−", "“”„‟‘’‚‛«»"
"""Characters from word processors and web pages, which terminals do not understand."""
NO_ACCESS = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP)
NOTHING = ("false", "none", "null", "no", "disabled", "0", "")
"""What people write for `tracking=off`."""
SEARCHES = ("sweep", "search", "tune", "optimize", "hpo")
"""What people write for `-m`."""
STUDIES = ("sweep.folder", "sweep.storage")
OF_SEARCHES = ("sweep", "search", "sampler", "pruner", "study")
"""Settings of searches, which tasks do not read, except for these:"""
READ_BY: Mapping[str, Sequence[str]] = {
    "train": (), "download": (), "export": (), "evaluate": (),
    "studies": STUDIES, "best": (*STUDIES, "study"), "compare": STUDIES, "upload": STUDIES,
    "recommend": STUDIES, "register": STUDIES, "ui": (), "reproduce": STUDIES, "bundle": STUDIES,
}  # fmt: skip


# --- as typed, before anything is composed --------------------------------------------------------


def options_first(arguments: Sequence[str]) -> list[str]:
    """Put options with their values before settings, as Hydra requires.

    Single quotes around a whole argument are dropped: a shell leaves them in what `$(…)` inserts.

    Args:
        arguments: The arguments as typed.
    """
    options, settings = [], []
    for argument, value in _options_and_values([_unquoted(each) for each in arguments]):
        if argument.startswith("-"):
            options += [argument, *value]
        else:
            settings.append(argument)
    return [*options, *settings]


def with_files_of_runs(arguments: Sequence[str]) -> list[str]:
    """The arguments for Hydra, where a task other than train may name the files of a stored run.

    The split that is composed beside that task may have no path.

    Args:
        arguments: The arguments as typed.
    """
    if task_of(arguments) == "train":
        return list(arguments)
    return [f"++{each}" if each.partition("=")[0] in FILES else each for each in arguments]


def _unquoted(argument: str) -> str:
    is_quoted = len(argument) > 1 and argument[0] == argument[-1] == "'"
    return argument[1:-1] if is_quoted else argument


def refuse_mistyped(arguments: Sequence[str], groups: Groups) -> None:
    """Raise InputError for mistakes that Hydra would misread or not explain.

    Args:
        arguments: The arguments as typed.
        groups: All groups.
    """
    _refuse_repeated_option(arguments)
    for argument, _ in _options_and_values(arguments):
        if argument.startswith(tuple(DASHES + QUOTES)):
            plain = argument.strip(QUOTES)
            if plain[0] in DASHES:
                name = plain.lstrip(f"{DASHES}-")
                plain = f"-{name}" if len(name) == 1 else f"--{name}"
            raise InputError(
                f"dashes and quotes must be plain ASCII, but {argument} has others; write "
                f"{shlex.quote(plain)}"
            )
        if argument.startswith("-"):
            _refuse_unknown_option(argument, groups)
        key, _, value = argument.lstrip("+").partition("=")
        if argument.startswith("search."):
            name = key.removeprefix("search.")
            raise InputError(
                f"{key} can be set in YAML files only; write {name}: {COMMAND} -m "
                f"'{name}=interval(LOW,HIGH)' searches it, {name}=VALUE does not"
            )
        if key in groups and re.fullmatch(r"\[\s*\]", value.strip()):
            example = shlex.quote(f"{key}=[ndcg,recall]") if key == SEVERAL else f"{key}=CHOICE"
            raise InputError(
                f"{key} must name at least one choice, but is [], an empty list; write "
                f"{example}, or see {COMMAND} --help"
            )
        if key in groups and key != SEVERAL and re.fullmatch(r"\[.*\]", value.strip()):
            names = ",".join(name.strip() for name in value.strip(" []").split(","))
            raise InputError(
                f"{key} must be one choice, but is {value}; to search with several write "
                f"{COMMAND} -m {key}={names}"
            )


def refuse_unknown_topics(arguments: Sequence[str], groups: Groups, known: Sequence[str]) -> None:
    """Check what `--help` is asked about, since nothing is composed then.

    Args:
        arguments: The arguments without options.
        groups: All groups, with your own choices.
        known: Keys at the top that are no groups.

    Raises:
        InputError: A choice or a key is unknown, or an argument is not KEY=VALUE.
    """
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise InputError(explain_unparsed(argument, "", arguments, groups))
        is_named = key in groups and "(" not in value  # no function of Hydra's
        for name in value.strip("[] ").split(",") if is_named else ():
            if name.strip() not in (*groups[key], "null", ""):
                raise InputError(_unknown_choice(f"{key}/{name.strip()}", list(groups[key])))
        if re.fullmatch(r"\w+", key) and key not in (*groups, *known):
            raise InputError(unknown_key(key, [*groups, *known]))


def _options_and_values(arguments: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each argument; an option together with the value that follows it."""
    actions, rest = get_args_parser()._option_string_actions, list(arguments)
    while rest:
        argument = rest.pop(0)
        action = actions.get(argument)
        is_valued = isinstance(action, argparse._StoreAction) and (
            action.nargs is None or (rest and rest[0] in (action.choices or ()))
        )
        yield argument, [rest.pop(0)] if is_valued and rest else []


def _refuse_repeated_option(arguments: Sequence[str]) -> None:
    """Raise InputError for an option that is given twice, of which Hydra would read one."""
    actions, seen = get_args_parser()._option_string_actions, set()
    for argument, _ in _options_and_values(arguments):
        option = argument.partition("=")[0]
        name = actions[option].dest if option in actions else None
        if name in seen:
            raise InputError(
                f"an option must be given once, but {option} is given again; leave one out"
            )
        seen |= {name} - {None}


def _refuse_unknown_option(argument: str, groups: Groups) -> None:
    """Raise InputError for `--hepl`, and for a setting written like an option."""
    known = list(get_args_parser()._option_string_actions)
    option = argument.partition("=")[0]
    if option in known or re.fullmatch(r"-[rmh]+", option):
        return
    if "=" in argument and closest(option, known, 0.8) is None:
        raise InputError(
            f"settings are written without dashes, but {argument} has them; write "
            f"{argument.lstrip('-')}, or see {COMMAND} --help"
        )
    bare = {name.lstrip("-"): name for name in known if name.startswith("--")}
    letters = {f"-{name[0]}": name for name in ("help", "multirun")}
    close = closest(option.lstrip("-").lower(), bare) or letters.get(option.lower())
    hint = suggest(bare[close] if close else None, f"see {COMMAND} --hydra-help.")
    setting = f"{name if (name := option.lstrip('-')) in groups else 'KEY'}=VALUE"
    raise InputError(
        f"an option must be one of Hydra's, but {option} is not; {hint} Settings are written "
        f"without dashes, as {setting}"
    )


# --- composed -------------------------------------------------------------------------------------


def refuse_unread(overrides: Sequence[str], task: str) -> None:
    """Raise InputError for settings that the task of a single run would silently ignore.

    Args:
        overrides: Settings as typed.
        task: Choice of the group `task`; a user's own task may read all settings.
    """
    read = READ_BY.get(task, OF_SEARCHES)
    for override in overrides if task in READ_BY else ():
        key, _, value = override.lstrip("+~").partition("=")
        group = key.partition(".")[0].partition("@")[0]
        if group not in OF_SEARCHES or key in read:
            continue
        named_by = NAMED_BY.get(task)
        if task == "train":
            typed = shlex.join(overrides)
            what = (
                f"only a search reads {key}, and without -m there is none; write {COMMAND} -m "
                f"{typed}, or leave {override} out"
            )
        elif key == "study" and named_by:
            what = f"task={task} does not read {key}; write {named_by}={value}"
        else:
            what = f"task={task} does not read {key}; leave {override} out"
        raise InputError(what)


def refuse_added(overrides: Sequence[str], config: Any, known: Collection[str]) -> None:
    """Raise InputError for a key added at the top, where nothing would read it.

    Args:
        overrides: Settings as typed.
        config: The composed configuration.
        known: Keys allowed at the top.
    """
    for override in (each for each in overrides if each.startswith("+")):
        key = override.lstrip("+").partition("=")[0].partition("@")[0]
        top = key.partition(".")[0]
        if top not in known:
            others = [each for each in _keys(config) if each.partition(".")[0] != top]
            raise InputError(unknown_key(key, others))


def explain(error: Exception, arguments: Sequence[str] = (), groups: Groups | None = None) -> str:
    """An error in one line, after its notes, which say where it occurred.

    Args:
        error: An error from recsweep, or from Hydra, OmegaConf or the file system before the run.
        arguments: The arguments as typed.
        groups: All groups.
    """
    if isinstance(error, InputError):
        text = f"{error}{_own_table(str(error), arguments)}"
    else:
        text = _explained(error, arguments, groups)
    return one_line(": ".join([*getattr(error, "__notes__", []), text]))


def bad_path(error: Exception) -> InputError | None:
    """An error about a path that is too long or closed to this user; None = it is no such error."""
    if not isinstance(error, OSError) or error.errno not in NO_ACCESS or error.filename is None:
        return None
    shown = shorten(str(error.filename), 80)
    return InputError(
        f"every path must be one that can be opened, but {shown} is not ({error.strerror}); check "
        "it and its permissions"
    )


def _own_table(text: str, arguments: Sequence[str]) -> str:
    """What reads a table that was given to a published data set and does not fit it."""
    given = dict(argument.partition("=")[::2] for argument in arguments)
    path = given.get("data.path", "")
    is_named = given.get("data") == "csv" or "data=csv" in text
    is_about_it = re.search(rf"(?<![\w.]){re.escape(path)}(?![\w.])", text)
    if is_named or not is_about_it or not isfile(path):  # noqa: PTH113
        return ""
    return f"; a table of your own is read with data=csv data.path={shlex.quote(path)}"


def _explained(error: Exception, arguments: Sequence[str], groups: Groups | None) -> str:
    text = one_line(str(error).partition("Config search path:")[0])
    if isinstance(error, MissingConfigException):
        wrong = str(error.missing_cfg_file)
        if options := error.options or (groups or {}).get(wrong.partition("/")[0], ()):
            return _unknown_choice(wrong, list(options))
    if isinstance(error, OverrideParseException):
        return explain_unparsed(error.override, error.message, arguments, groups or {})
    if sweep := re.search(r"(?:Sweep parameters|Ambiguous value for argument) '(.*?)'", text):
        return _several_values(sweep[1], arguments)
    if added := re.search(r"Override (model\.\S+@\S+) looks like a config group", text):
        plain = re.sub("@[^=]*", "", added[1])
        return f"@ names one of several models of a search, but {added[1]} has no -m; write {plain}"
    if isinstance(error, OSError) and not isinstance(error, ConfigCompositionException):
        return (
            f"the output folder must be writable, but {error.filename} is not "
            f"({error.strerror}); change to another folder or set hydra.run.dir=FOLDER"
        )
    return (
        _needless_plus(text, arguments)
        or _not_a_choice(text, arguments, groups or {})
        or _not_there(error, text, arguments)
        or _no_config_folder(text)
        or _not_global(text)
        or f"cannot compose the configuration: {text}; see {COMMAND} --help"
    )


def _needless_plus(text: str, arguments: Sequence[str]) -> str | None:
    """What to do about `+key=value` if the key already exists."""
    for added in (argument for argument in arguments if argument.startswith("+")):
        key, plain = added.lstrip("+").partition("=")[0], shlex.quote(added.lstrip("+"))
        if re.search(rf"(?<![\w.]){re.escape(key)}(?![\w.])", text):
            return f"+ adds a key that is not there yet, but {key} is there; write {plain}"
    return None


def _not_a_choice(text: str, arguments: Sequence[str], groups: Groups) -> str | None:
    """What to write instead of `tracking=false`: the choices of groups are words."""
    if "group override must be a string" not in text:
        return None
    typed = (argument.partition("=")[::2] for argument in arguments)
    wrong = [
        (key, value)
        for key, value in typed
        if key in groups and value not in groups[key] and key != SEVERAL
    ]
    return _unknown_choice("/".join(wrong[0]), list(groups[wrong[0][0]])) if wrong else None


def _several_values(override: str, arguments: Sequence[str]) -> str:
    """What to write instead of `key=a,b` without -m."""
    key, _, value = override.partition("=")
    needs = f"a single run needs one value of each setting, but {override} has more; "
    as_list = f"write '{key}=[{value}]'"
    if key == "task":
        return f"a command runs one task, but {override} names several; run them one by one"
    is_task = any(argument.startswith("task=") for argument in arguments)
    if is_task or (key in LISTS and not key.startswith("model.")):  # others cannot be searched
        return needs + as_list
    as_list = f"{as_list} if they are one list, or " if key in LISTS else ""
    return f"{needs}{as_list}to search them write {COMMAND} -m {shlex.join(arguments)}"


def _no_config_folder(text: str) -> str | None:
    found = re.search(r"Additional config directory '?(.*?)'? not found", text)
    return found and (
        f"--config-dir must be an existing folder, but {found[1]} is not; give another path"
    )


def _not_global(text: str) -> str | None:
    """What to do about a YAML file that overrides groups within its own group."""
    found = re.search(r"In '(\S+)': Could not override '\S+@", text)
    return found and (
        "a YAML file with settings of whole groups must begin with # @package _global_, but "
        f"{found[1]}.yaml does not; add this line at its top"
    )


def _not_there(error: Exception, text: str, arguments: Sequence[str]) -> str | None:
    """The key that was probably meant by an unknown one."""
    key, node = (getattr(error.__cause__, name, None) for name in ("full_key", "parent_node"))
    if not text.startswith("Could not override") or not key or node is None:
        return None
    named_by = NAMED_BY.get(task_of(arguments))
    if resolve_synonym(key) == RUN and named_by != RUN:
        tasks = ", ".join(task for task, name in NAMED_BY.items() if name == RUN)
        return f"unknown key {key}; {suggest(named_by, f'{RUN} is a setting of the tasks {tasks}')}"
    known = _keys(OmegaConf.to_container(node._get_root()))
    is_hydras = key.startswith("hydra")
    return unknown_key(key, [k for k in known if is_hydras or not k.startswith("hydra")])


def _keys(node: Any, prefix: str = "") -> list[str]:
    """Every key below `node`, with its path."""
    if not isinstance(node, dict):
        return []
    keys = []
    for name, child in node.items():
        key = f"{prefix}.{name}".strip(".")
        keys += [key, *_keys(child, key)]
    return keys


def _unknown_choice(wrong: str, options: list[str]) -> str:
    group, _, name = wrong.rpartition("/") if wrong.startswith("hydra/") else wrong.partition("/")
    if wrong.startswith("data/") and ("/" in wrong.removeprefix("data/") or Path(name).suffix):
        group, name = "data", wrong.removeprefix("data/")
        return (
            f"data must be one of {', '.join(options)}, but is {name}; a table of your own is read "
            f"with data=csv data.path={shlex.quote(name)}"
        )
    close = closest(Path(name).name.removesuffix(".yaml"), options, 0.65)
    hint = suggest(close and f"{group}={close}", f"set {group}=CHOICE")
    if group == "metrics" and close and (at := re.search(r"@(\d+)$", name)):
        hint = f"cut-offs are set by k: write 'metrics=[{close}]' 'k=[{at[1]}]'"
    if group == "tracking" and name.lower() in NOTHING:
        hint = "set tracking=off"
    if group == "task" and name.lower() in SEARCHES:
        hint = f"a search is started by -m: write {COMMAND} -m model=CHOICE"
    if group == "hydra/launcher" and "slurm" in name.lower():
        hint = "submitit_slurm needs the extra slurm: run pip install 'recsweep[slurm]'"
    return f"{group} must be one of {', '.join(options)}, but is {name or 'empty'}; {hint}"
