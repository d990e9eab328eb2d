"""Hints for an argument that Hydra cannot parse: what was probably meant."""

import re
import shlex
from collections.abc import Mapping, Sequence

from recsweep.known_keys import LISTS
from recsweep.messages import closest, one_line, suggest
from recsweep.shell import COMMAND

Groups = Mapping[str, Sequence[str]]
"""Name of a group of the configuration -> its choices."""
SEVERAL = "metrics"
"""The group with several choices per run."""
NUMBERS = {"interval": "interval(LOW,HIGH)", "range": "range(START,STOP,STEP)"}
RUN, RUNS = "task.run", "task.of"
NAMED_BY = {
    **dict.fromkeys(("best", "dashboard"), "study"),
    **dict.fromkeys(("recommend", "register", "reproduce", "ui", "upload"), RUN),
    **dict.fromkeys(("bundle", "compare"), RUNS),
}
"""The setting that names a task's study, its run, or all of its runs."""


def explain_unparsed(override: str, message: str, arguments: Sequence[str], groups: Groups) -> str:
    """What is wrong with an argument, and what to type instead.

    Args:
        override: The argument that Hydra's parser refused.
        message: Its message.
        arguments: All arguments as typed.
        groups: All groups.
    """
    name, equals, value = override.partition("=")
    if not equals:
        hint = _meant_setting(override, arguments, groups)
        return f"an argument must be KEY=VALUE, but {override} is not; {hint}"
    typed = list(arguments)
    if value.count("[") > value.count("]") and override in typed:
        pieces = typed[typed.index(override) :]
        ends = [n for n, piece in enumerate(pieces) if piece.endswith("]")]
        if ends and ends[0] > 0:
            whole = " ".join(pieces[: ends[0] + 1])
            return (
                f"a list with spaces must be quoted, but {whole} is not; write {shlex.quote(whole)}"
            )
    if (
        misread := _spaced(name, value)
        or _unread_quotes(override)
        or _misused_function(name, override, message)
    ):
        return misread
    if re.search(r"\s[\w.@/+~]+=", value):
        return (
            f"each setting must be a word of its own, but {shlex.quote(override)} is one word; "
            f"write {COMMAND} {override}"
        )
    uneven = [pair for pair in ("[]", "()", "{}") if len({*map(value.count, pair)}) > 1]
    reason = one_line(message.partition("See https:")[0].replace("^", ""))
    if uneven:
        reason = f"a {uneven[0][0]} and a {uneven[0][1]} belong together"
    elif value.count("'") % 2 or value.count('"') % 2:
        reason = "quotes come in pairs"
    return (
        f"an argument must be KEY=VALUE in Hydra's grammar, but {override} is not "
        f"({reason}); fix it, or if it is a text quote it twice: '{name}=\"{value}\"'"
    )


def _spaced(name: str, value: str) -> str | None:
    """What to write instead of `model = ease`."""
    if name == name.strip() or not re.fullmatch(r"[\w.@/]+", name.strip()):
        return None
    plain = shlex.quote(f"{name.strip()}={value.strip()}")
    return f"a setting must have no spaces around =, but {name}={value} has; write {plain}"


def _unread_quotes(override: str) -> str | None:
    """What to do about a quote that reached the program, at the beginning of an argument."""
    bare = override.strip("'\"")
    if override[0] not in "'\"" or not bare:
        return None
    found = f"quotes must be read by the terminal, but {override} came with "
    if override[-1] != override[0]:  # cut at a space
        remedy = "type double quotes, or run a printed command that has spaces as"
        return f'{found}a half of them; {remedy} eval "$(…)"'
    return f"{found}them; write {shlex.quote(bare)}"


def _misused_function(name: str, override: str, reason: str) -> str | None:
    """What to write instead of `intervall(1,10)`, `interval(a,b)` or `(1,10)`."""
    if ends := re.search(r"while evaluating '(interval|range)\(", reason):
        form = shlex.quote(f"{name}={NUMBERS[ends[1]]}")
        return f"{ends[1]}(…) must have numbers as its ends, but {override} has not; write {form}"
    if bounds := re.fullmatch(r"[^=]+=\(\s*([-+.\de]+)\s*,\s*([-+.\de]+)\s*\)", override):
        form = shlex.quote(f"{name}=interval({bounds[1]},{bounds[2]})")
        return f"a range is interval(LOW,HIGH), but {override} is none; write {form}"
    if wrong := re.search(r"Unknown function '(\w+)'\s+Available: ([\w,]+)", reason):
        known = wrong[2].split(",")
        close = closest(wrong[1], known)
        hint = suggest(close and f"{close}(…)", f"see {COMMAND} --help")
        return f"a function must be one of {', '.join(known)}, but is {wrong[1]}; {hint}"
    return None


def _meant_setting(text: str, arguments: Sequence[str], groups: Groups) -> str:
    """The setting that was probably meant by an argument without =."""
    key, colon, value = (part.strip() for part in text.partition(":"))
    if colon and re.fullmatch(r"[\w.@/]+", key):
        setting = f"{key}={value or 'VALUE'}"
        return f"did you mean {shlex.quote(setting)}?"
    typed = list(arguments)
    before = typed[typed.index(text) - 1] if text in typed[1:] else ""
    name, _, start = before.partition("=")
    start = start.strip("[], ")
    is_entry = text in groups[SEVERAL] if name == SEVERAL else _is_number(text)
    if start and is_entry and (name in LISTS or name == SEVERAL):
        return f"did you mean {shlex.quote(f'{name}=[{start},{text}]')}?"
    of_groups = [group for group, choices in groups.items() if text in choices]
    if of_groups:
        return f"did you mean {of_groups[0]}={text}?"
    named_by = NAMED_BY.get(task_of(arguments))
    if text == named_by or ("." in text and text.partition(".")[0] in groups):
        return f"write {text}={'NAME' if text == named_by else 'VALUE'}"
    if text in groups or text.startswith("="):
        return f"write {text if text in groups else 'KEY'}=VALUE without spaces"
    return _meant_after(before, text, named_by)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9.]+", text) is not None


def _meant_after(before: str, text: str, named_by: str | None) -> str:
    """What was probably meant by a word without = after another argument.

    Args:
        before: That argument.
        text: The word.
        named_by: What the task's study or run is named by.
    """
    name, _, start = before.partition("=")
    if named_by and before.startswith("task="):
        what = f"[{text}]" if named_by == RUNS else text
        return f"did you mean {shlex.quote(f'{named_by}={what}')}?"
    if "=" in before:
        whole = f'{name}="{start} {text}"'
        return f"see {COMMAND} --help, or quote a value with spaces twice: {shlex.quote(whole)}"
    return f"see {COMMAND} --help"


def task_of(arguments: Sequence[str]) -> str:
    """The choice of the group `task`."""
    typed = [each.partition("=")[2] for each in arguments if each.startswith("task=")]
    return typed[-1] if typed else "train"
