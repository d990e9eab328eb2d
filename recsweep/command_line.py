"""`python -m recsweep`: composes the configuration with Hydra and prints errors in one line.

Exit codes:
    0    done                     130  stopped by Ctrl-C, SIGTERM or SIGHUP
    1    bad input, a crash,      141  the reader of the output is gone
         or trials that failed
"""

import _thread
import codecs
import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, ClassVar, NoReturn, cast

import hydra
import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime, env_override
from hydra.experimental.callback import Callback
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf

from recsweep import __version__, app
from recsweep.command_help import choice_folders, files_of, help_text, top_settings
from recsweep.credentials import redact, without_credentials
from recsweep.defaults import conf_folder, resolve
from recsweep.documents import read_yaml
from recsweep.errors import InputError
from recsweep.messages import escape_controls, print_to_stderr, print_to_stdout
from recsweep.mistakes import (
    bad_path,
    explain,
    options_first,
    refuse_added,
    refuse_mistyped,
    refuse_unknown_topics,
    refuse_unread,
    with_files_of_runs,
)
from recsweep.shell import config_flags, use_arguments
from recsweep.source_code import targets
from recsweep.sweeps.space.model_overrides import of_some_models
from recsweep.trust import DOTTED

IS_HYDRA_1_3 = hydra.__version__.startswith("1.3.")
VERSION_BASE: dict[str, str] = {"version_base": "1.3"} if IS_HYDRA_1_3 else {}
"""Defaults for Hydra 1.3; later versions have only one set and warn about the argument."""
WHITELIST: dict[str, Any] = (
    {} if IS_HYDRA_1_3 else {"execution_whitelist": ["recsweep.command_line.OutputFolder"]}
)
"""Classes that Hydra 1.4 may build from the configuration; recsweep builds models itself."""


def groups() -> dict[str, list[str]]:
    """Names of the groups of the configuration, such as `model`, and their choices."""
    folders = [folder for folder in conf_folder().iterdir() if folder.is_dir()]
    return {
        folder.name: sorted(file.stem for file in folder.glob("*.yaml"))
        for folder in sorted(folders)
        if folder.name != "hydra"
    }


@contextmanager
def own_hydra() -> Iterator[None]:
    """Hydra with recsweep's YAML files and nothing of the program around it, which may use Hydra.

    The launchers' logs are silenced: they would repeat all overrides, passwords included.
    """
    Plugins.instance()  # they store the choices of Hydra's own groups
    kinds = (ConfigStore, GlobalHydra, HydraConfig, JobRuntime, VersionBase)
    instances: dict[type, Any] = Singleton._instances
    before: dict[type, Any] = {kind: instances.pop(kind) for kind in kinds if kind in instances}
    ConfigStore.instance().repo = {"hydra": before[ConfigStore].repo["hydra"]}
    levels = {log: log.level for log in map(logging.getLogger, ("hydra", "hydra_plugins"))}
    try:
        for log in levels:
            log.setLevel(logging.WARNING)
        with initialize_config_dir(str(conf_folder()), **VERSION_BASE):
            yield
    finally:
        for log, level in levels.items():
            log.setLevel(level)
        for kind in kinds:
            instances.pop(kind, None)
        instances.update(before)


def compose_config(*overrides: str) -> dict[str, Any]:
    """The resolved configuration of `python -m recsweep OVERRIDES`, for a notebook or a test."""
    with own_hydra():
        config = compose("config", list(overrides), return_hydra_config=True)
        kept = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        return app.with_model_name(resolve(kept), config.hydra.runtime.choices)


def main() -> None:
    """Run the command line and exit with one of the codes above."""
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1" or "debug=true" in sys.argv
    warnings_to = logging.StreamHandler()  # stderr
    warnings_to.setLevel(logging.WARNING)  # Hydra's --info lowers the level of loggers
    warnings_to.setFormatter(_Redacting("%(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[warnings_to])
    sys.excepthook = _print_redacted
    write_with_any_encoding()
    end_politely_on_signals()
    run, arguments = _Run(), options_first(sys.argv[1:])
    _note_credentials(arguments)
    try:
        refuse_mistyped(arguments, groups())
        if text := information(arguments):
            print_to_stdout(*text.split("\n"))
            return
        aside = of_some_models(arguments) if {"-m", "--multirun"} & {*arguments} else []
        for_hydra = [each for each in arguments if each not in aside]
        sys.argv[1:] = with_files_of_runs(for_hydra)
        # errors are raised, not printed
        with use_arguments(arguments), env_override({"HYDRA_FULL_ERROR": "1"}):
            hydra.main(str(conf_folder()), "config", **VERSION_BASE, **WHITELIST)(run)()
        run.raise_error()
    except KeyboardInterrupt as stop:
        kept = "" if "tracking=off" in arguments else "; what was tracked until now is kept"
        _say(f"stopped by {str(stop) or 'Ctrl-C'}{kept}")
        _write_what_was_tracked()
        OutputFolder.remove_if_empty()
        flush_output()
        os._exit(130)  # XLA may still compute: a normal interpreter shutdown can crash
    except BrokenPipeError:
        sys.exit(141)
    except Exception as error:
        if error is run.error and (of_path := bad_path(error)):
            error = of_path
        is_bug = error is run.error and not isinstance(error, InputError)
        if wants_traceback or run.is_debugged or is_bug:
            raise
        _say(redact(explain(error, arguments, groups())))
        sys.exit(1)
    finally:
        OutputFolder.remove_if_empty()
        flush_output()


def information(arguments: list[str]) -> str | None:
    """The text that `--help` or `--version` asks for; None = neither is given.

    Args:
        arguments: The arguments, options first.
    """
    if "--version" in arguments:
        return f"recsweep {__version__}"
    parser = get_args_parser()
    parser.error = _refuse_option  # type: ignore[method-assign] # not the usage, which is Hydra's
    options = parser.parse_args(arguments)
    if not options.help:
        return None
    folders = choice_folders(options.config_dir)
    choices = {group: list(files_of(group, folders)) for group in groups()}
    known = [setting.key.partition(".")[0] for setting in top_settings()]
    refuse_unknown_topics(options.overrides, choices, known)
    return help_text(options.overrides, options.config_dir)


def _refuse_option(message: str) -> NoReturn:
    raise InputError(f"options must be as python -m recsweep --hydra-help lists them: {message}")


class _Run:
    """The task that Hydra calls; hides errors from Hydra, which would print them."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.is_debugged = False

    def __call__(self, config: DictConfig) -> None:
        self.is_debugged = config.get("debug") is True
        try:
            job = HydraConfig.get()
            typed = cast("list[str]", OmegaConf.to_container(job.overrides.task))  # ${…} as typed
            refuse_unread(typed, str(job.runtime.choices["task"]))
            refuse_added(typed, OmegaConf.to_container(config), app.Settings.__dataclass_fields__)
            named = app.with_model_name(resolve(config), job.runtime.choices)
            if job.runtime.choices["task"] != "train":  # which reads no stored configuration
                named["trust"] = [*named["trust"], *_own_classes(job.runtime.config_sources)]
            app.run(named, Path(job.runtime.output_dir), [*config_flags(), *typed])
        except Exception as error:  # noqa: BLE001 - raised below
            self.error = self.error or error

    def raise_error(self) -> None:
        if self.error is not None:
            raise self.error


def _own_classes(sources: Sequence[Any]) -> list[str]:
    """Classes that the YAML files of the groups in the user's own folders name.

    Args:
        sources: Hydra's `runtime.config_sources`.
    """
    found: set[str] = set()
    for source in sources:
        folder = Path(source.path)
        if source.schema != "file" or folder == conf_folder():
            continue
        for file in (file for group in groups() for file in (folder / group).glob("*.yaml")):
            with suppress(OSError, ValueError, yaml.YAMLError):  # a file that is not chosen
                found.update(targets(read_yaml(file)))
    return sorted(name for name in found if re.fullmatch(DOTTED, name))


def _write_what_was_tracked() -> None:
    """Write what a second Ctrl-C has left in the buffers of runs; a third one stops that, too."""
    from recsweep.tracking.store import patience
    from recsweep.tracking.write_buffer import write_all

    with suppress(KeyboardInterrupt), patience(0, 5):
        write_all()


def _say(line: str) -> None:
    print_to_stderr(f"error: {line}")


def _note_credentials(arguments: Sequence[str]) -> None:
    """Make `redact` hide the credentials of addresses as typed, also of one cut at its spaces."""
    address = ""
    for argument in arguments:
        is_rest = address and "=" not in argument and not argument.startswith("-")
        address = f"{address} {argument}" if is_rest else argument * (":/" in argument)
        without_credentials(address)


class _Redacting(logging.Formatter):
    """Log messages without credentials and control characters; ours are one line each."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The message without a traceback."""
        text = super().formatMessage(record)
        return escape_controls(text) if record.name.startswith("recsweep.") else text

    def format(self, record: logging.LogRecord) -> str:
        """The message, and the traceback if there is one."""
        return "\n".join(map(escape_controls, redact(super().format(record)).split("\n")))


def _print_redacted(
    kind: type[BaseException], error: BaseException, where: TracebackType | None
) -> None:
    """Print the traceback of a bug without credentials."""
    lines = traceback.format_exception(kind, error, where)
    print_to_stderr(*redact("".join(lines)).rstrip("\n").split("\n"))


# --- process and terminal -----------------------------------------------------------------------


class OutputFolder(Callback):
    """Removes the folders that Hydra created for a run if the run wrote nothing into them."""

    made: ClassVar[list[Path]] = []

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Note which folders do not exist yet."""
        HydraConfig.instance().set_config(config)
        folder = Path(config.hydra.run.dir).absolute()
        OutputFolder.made = [path for path in (folder, *folder.parents) if not path.exists()]

    @classmethod
    def remove_if_empty(cls) -> None:
        """Remove created folders, from the inside out, up to the first one in use."""
        with suppress(OSError):
            while cls.made:
                cls.made.pop(0).rmdir()
        cls.made = []


def end_politely_on_signals() -> None:
    """Let SIGTERM and a closed terminal end a run as Ctrl-C does; `nohup` still works.

    Python drops exceptions raised in a finalizer or a garbage collector hook, and XLA has such a
    hook: an interrupt that was dropped there is sent again.
    """
    reason, main_thread, is_heard = "", threading.get_ident(), threading.Event()

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        nonlocal reason
        is_heard.set()
        if number != signal.SIGINT:
            signal.signal(number, signal.SIG_IGN)  # a second signal must not interrupt the shutdown
            reason = signal.Signals(number).name
        raise KeyboardInterrupt(reason)

    def send_again() -> None:
        while not is_heard.wait(0.05):
            if sys.platform == "win32":
                _thread.interrupt_main()
            else:
                signal.pthread_kill(main_thread, signal.SIGINT)

    def hear_of_dropped(dropped: "sys.UnraisableHookArgs") -> None:
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
    """On terminals without ─, ± or β, write -, ~ or ? instead of raising an error."""
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
        if hasattr(getattr(sys, name), "reconfigure"):  # IPython's streams support any character
            getattr(sys, name).reconfigure(errors="recsweep")


def flush_output() -> None:
    """Flush the output; a closed reader, as in `| head -1`, is not an error."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:  # only a stream with a descriptor has a pipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
