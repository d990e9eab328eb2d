"""`python -m recsweep`: composes the configuration with Hydra and says errors in one line.

Exit codes:
    0    done                     130  stopped by Ctrl-C, SIGTERM or SIGHUP
    1    bad input, or a crash    141  nobody reads the output any more
"""

import codecs
import difflib
import logging
import os
import re
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, NoReturn, cast

import hydra
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import env_override
from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recsweep import app
from recsweep.build import unknown_key
from recsweep.errors import InputError


def conf_folder() -> Path:
    """The configuration: inside the package when it was installed, else the checkout's."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def composed(*overrides: str) -> dict[str, Any]:
    """The resolved configuration of `python -m recsweep OVERRIDES`, for a notebook or a test."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return _resolved(compose("config", list(overrides)))


def main() -> None:
    """Run what the command line says and exit with one of the codes above."""
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1" or "debug=true" in sys.argv
    logging.basicConfig(format="%(levelname)s: %(message)s")  # warnings, to stderr
    write_with_any_encoding()
    end_politely_on_signals()
    run = _Run()
    try:
        refuse_unknown_options(sys.argv[1:])
        with env_override({"HYDRA_FULL_ERROR": "1"}):  # errors are handed on, not printed
            hydra.main(str(conf_folder()), "config", version_base="1.3")(run)()
        run.raise_error()
    except KeyboardInterrupt as stop:
        _say(f"stopped by {str(stop) or 'Ctrl-C'}; what was tracked until now is kept")
        OutputFolder.remove_if_empty()
        flush_output()
        os._exit(130)  # XLA may still compute: taking the interpreter down under it can crash
    except BrokenPipeError:
        sys.exit(141)
    except Exception as error:
        is_bug = error is run.error and not isinstance(error, InputError)
        if wants_traceback or run.is_debugged or is_bug:
            raise
        _say(explain(error))
        sys.exit(1)
    finally:
        OutputFolder.remove_if_empty()
        flush_output()


class _Run:
    """The task that Hydra calls; keeps what goes wrong from Hydra, which would print it."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.is_debugged = False

    def __call__(self, config: DictConfig) -> None:
        self.is_debugged = config.get("debug") is True
        try:
            job = HydraConfig.get()
            app.run(_resolved(config), Path(job.runtime.output_dir), list(job.overrides.task))
        except Exception as error:  # noqa: BLE001 - raised below
            self.error = self.error or error

    def raise_error(self) -> None:
        if self.error is not None:
            raise self.error


def _resolved(config: DictConfig) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException as error:
        reason, key = str(error).splitlines()[0], error.full_key
        raise InputError(f"{key} must have a value, but has none: {reason}; set {key}") from error


def _say(line: str) -> None:
    print(f"error: {line}", file=sys.stderr)  # noqa: T201 - the one line a user reads


# --- process and terminal -----------------------------------------------------------------------


class OutputFolder(Callback):
    """Takes back the folders that Hydra made for a run, when the run wrote nothing into them."""

    made: ClassVar[list[Path]] = []

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Note what is not there yet."""
        HydraConfig.instance().set_config(config)
        folder = Path(config.hydra.run.dir).absolute()
        OutputFolder.made = [path for path in (folder, *folder.parents) if not path.exists()]

    @classmethod
    def remove_if_empty(cls) -> None:
        """Remove what was made, from the inside out, up to the first folder that is in use."""
        with suppress(OSError):
            while cls.made:
                cls.made.pop(0).rmdir()
        cls.made = []


def end_politely_on_signals() -> None:
    """Let SIGTERM and a closed terminal end a run as Ctrl-C does; `nohup` stays what it is.

    Python drops what is raised within a finalizer or a hook of the garbage collector, and XLA has
    such a hook: an interrupt that was dropped there is sent again.
    """
    reason, main_thread, is_heard = "", threading.get_ident(), threading.Event()

    def stop(number: int, _frame: Any) -> NoReturn:
        nonlocal reason
        is_heard.set()
        if number != signal.SIGINT:
            signal.signal(number, signal.SIG_IGN)  # the second one must not break off the goodbye
            reason = signal.Signals(number).name
        raise KeyboardInterrupt(reason)

    def send_again() -> None:
        while not is_heard.wait(0.05):
            signal.pthread_kill(main_thread, signal.SIGINT)

    def hear_of_dropped(dropped: Any) -> None:
        if isinstance(dropped.exc_value, KeyboardInterrupt):
            is_heard.clear()
            threading.Thread(target=send_again, daemon=True).start()
        else:
            sys.__unraisablehook__(dropped)

    sys.unraisablehook = hear_of_dropped
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        unchanged = (signal.SIG_DFL, signal.default_int_handler)
        if number is not None and signal.getsignal(number) in unchanged:
            signal.signal(number, stop)


def write_with_any_encoding() -> None:
    """Where a terminal has no ─, ± or β, write -, ~ or ? instead of ending with an error."""
    plain = {"─": "-", "–": "-", "±": "~", "…": "~", "×": "x", "†": "+", "‡": "#"}

    def replace(error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        missing = error.object[error.start : error.end]
        return "".join(plain.get(letter, "?") for letter in missing), error.end

    codecs.register_error("recsweep", replace)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by `>&-`
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - until the process ends
        getattr(sys, name).reconfigure(errors="recsweep")


def flush_output() -> None:
    """Write what is left; a reader that has gone, as in `| head -1`, is no error."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


# --- what is wrong with the command line ---------------------------------------------------------


def refuse_unknown_options(arguments: list[str]) -> None:
    """Raise InputError for an option that Hydra does not know, such as `--model=multivae`."""
    known = set(get_args_parser()._option_string_actions)
    for argument in arguments:
        option = argument.partition("=")[0]
        if option.startswith("--") and option not in known:
            raise InputError(
                f"settings are written without dashes, but {argument} has them; write "
                f"{argument.lstrip('-')}, or see python -m recsweep --help"
            )


def explain(error: Exception) -> str:
    """What went wrong, in one line; first the error's notes, which say where.

    Args:
        error: Ours, or one from Hydra, OmegaConf or the file system before a run began.
    """
    text = str(error) if isinstance(error, InputError) else _explained(error)
    return " ".join(": ".join([*getattr(error, "__notes__", []), text]).split())


def _explained(error: Exception) -> str:
    text = " ".join(str(error).partition("Config search path:")[0].split())
    if isinstance(error, MissingConfigException) and error.options:
        return _unknown_choice(str(error.missing_cfg_file), list(error.options))
    if isinstance(error, OverrideParseException):
        return _not_a_setting(error)
    if sweep := re.search(r"(?:Sweep parameters|Ambiguous value for argument) '(.*?)'", text):
        return (
            f"a single run needs one value of each setting, but {sweep[1]} has more; add -m to "
            "search them, as in python -m recsweep -m …"
        )
    if isinstance(error, OSError) and not isinstance(error, ConfigCompositionException):
        return (
            f"the output folder must be one that can be written, but {error.filename} cannot "
            f"({error.strerror}); go to another folder or set hydra.run.dir=FOLDER"
        )
    key, node = (getattr(error.__cause__, name, None) for name in ("full_key", "parent_node"))
    if text.startswith("Could not override") and key and node is not None:
        known = _keys(OmegaConf.to_container(node._get_root()))
        return unknown_key(
            key, [k for k in known if k.startswith("hydra") == key.startswith("hydra")]
        )
    return f"the configuration must compose, but does not: {text}; see python -m recsweep --help"


def _not_a_setting(error: OverrideParseException) -> str:
    name, equals, value = error.override.partition("=")
    if not equals:
        return (
            f"an argument must be KEY=VALUE, but {error.override} is not; see "
            "python -m recsweep --help"
        )
    reason = " ".join(error.message.partition("See https:")[0].replace("^", "").split())
    return (
        f"an argument must be KEY=VALUE in Hydra's grammar, but {error.override} is not "
        f"({reason}); mend it, or if it is a text quote it twice: '{name}=\"{value}\"'"
    )


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
    group, _, name = wrong.rpartition("/")
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.65)
    hint = f"did you mean {group}={close[0]}?" if close else f"set {group}=CHOICE"
    return f"{group} must be one of {', '.join(options)}, but is {name}; {hint}"
