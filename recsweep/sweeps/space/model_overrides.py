"""Settings of one command for several models: `model.l2` and `model.l2@ease`."""

from collections.abc import Callable, Mapping, Sequence

from hydra.core.override_parser.types import Override, OverrideType

from recsweep.errors import InputError
from recsweep.known_keys import unknown_key
from recsweep.messages import closest, suggest


def of_some_models(arguments: Sequence[str]) -> list[str]:
    """Settings of a search's models that Hydra must not apply to the default model's configuration.

    Args:
        arguments: The command line of a search.
    """
    is_several = any(each.startswith("model=") and "," in each for each in arguments)
    return [
        each
        for each in arguments
        if each.startswith("model.") and (is_several or "@" in each.partition("=")[0])
    ]


def only_model(override: Override) -> str:
    """`ease` of `model.l2@ease=…`, a setting for one of several models; else empty."""
    is_setting = str(override.key_or_group).startswith("model.")
    return str(override.package) if is_setting and override.package else ""


def overrides_by_model(
    overrides: Sequence[Override],
    models: Sequence[str | None],
    keys: Callable[[str], set[str]],
) -> tuple[list[list[Override]], list[str]]:
    """The overrides that apply to each study of a command.

    A setting of the model applies to the models that have it, and one with @ to that model alone,
    where it replaces the plain one. What is wrong with a setting that no model has is said here if
    all models are known; else it is left to all, whose composition explains it.

    Args:
        overrides: Those of the command line.
        models: The model of each study; None = the command has a single model.
        keys: Choice of the group `model` -> all its settings, such as `model.l2`.

    Returns:
        The overrides of each study, and a line for each setting that is not for all models.

    Raises:
        InputError: The part after @ is none of the models, or a setting is none of any model.
    """
    given = next((str(o.value()) for o in overrides if o.key_or_group == "model"), "")
    names = list(dict.fromkeys(model or given for model in models))
    for override in overrides:
        _refuse_other_model(override, [name for name in names if name])
    known = {name: keys(name) for name in names} if len(names) > 1 else {}
    if all(known.values()):
        of_any = sorted(set().union(*known.values()))
        for override in overrides if known else ():
            _refuse_unknown(override, of_any)
    own = [
        [each for each in overrides if _applies(each, model or given, overrides, known)]
        for model in models
    ]
    return own, _remarks(overrides, known)


def _applies(
    override: Override, model: str, overrides: Sequence[Override], known: Mapping[str, set[str]]
) -> bool:
    key, only = override.key_or_group, only_model(override)
    if only:
        return only == model
    if any(each.key_or_group == key and only_model(each) == model for each in overrides if model):
        return False  # replaced
    having = [name for name, keys in known.items() if key in keys]
    return not (str(key).startswith("model.") and having) or model in having


def _remarks(overrides: Sequence[Override], known: Mapping[str, set[str]]) -> list[str]:
    """Lines such as `model.l2 is for ease; popularity has no such setting`."""
    lines = []
    for key in dict.fromkeys(str(o.key_or_group) for o in overrides if not only_model(o)):
        having = [model for model, keys in known.items() if key in keys]
        without = [model for model in known if model not in having]
        if key.startswith("model.") and having and without:
            has = "has" if len(without) == 1 else "have"
            lines.append(
                f"{key} is for {', '.join(having)}; {', '.join(without)} {has} no such setting"
            )
    return lines


def _refuse_unknown(override: Override, of_any: Sequence[str]) -> None:
    key = str(override.key_or_group)
    is_known = key in of_any or not key.startswith("model.")
    if not is_known and override.type == OverrideType.CHANGE:
        raise InputError(unknown_key(key, of_any))


def _refuse_other_model(override: Override, models: Sequence[str]) -> None:
    only, key = only_model(override), override.key_or_group
    if not only or only in models:
        return
    close = closest(only, models)
    hint = suggest(close and f"{key}@{close}", f"write {key}=… for all models")
    raise InputError(
        f"the part after @ must be one of the models that are searched, "
        f"{', '.join(models) or 'and one must be given'}, but {override.input_line} has {only}; "
        f"{hint}"
    )
