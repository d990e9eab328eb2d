"""`python -m recsweep`: composes the configuration with Hydra and says errors in one line."""

import difflib
import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
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


def main() -> None:
    """Run with the command line's overrides; exit 1 on bad input, 130 when stopped."""
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1" or "debug=true" in sys.argv
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands errors on instead of printing them
    signal.signal(signal.SIGTERM, _interrupt)  # a polite kill ends like Ctrl-C

    def task(config: DictConfig) -> None:
        try:
            _run(config)
        except InputError as error:
            if wants_traceback:
                raise
            _forget_output_folder()
            _refuse(str(error))

    compose_and_run = hydra.main(
        config_path=str(conf_folder()), config_name="config", version_base="1.3"
    )(task)
    try:
        compose_and_run()
    except (HydraException, OmegaConfBaseException, OSError, ValueError) as error:
        line = explain(error, sys.argv[1:])
        if wants_traceback or line is None:
            raise
        _refuse(line)
    except KeyboardInterrupt:
        print("\nstopped; what was tracked until now is kept", file=sys.stderr)  # noqa: T201
        sys.exit(130)


def _run(config: DictConfig) -> None:
    job = HydraConfig.get()
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise InputError(_one_line(error)) from error
    app.run(plain, Path(job.runtime.output_dir), list(job.overrides.task))


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _refuse(line: str) -> NoReturn:
    print(f"error: {line}", file=sys.stderr)  # noqa: T201 - the one line a user reads
    sys.exit(1)


def _forget_output_folder() -> None:
    """Remove what Hydra wrote before a run was refused; anything else in the folder stays."""
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    for name in ("config.yaml", "hydra.yaml", "overrides.yaml"):
        (folder / ".hydra" / name).unlink(missing_ok=True)
    (folder / f"{job.job.name}.log").unlink(missing_ok=True)
    with suppress(OSError):  # not empty: somebody else's files
        for empty in (folder / ".hydra", folder, folder.parent, folder.parent.parent):
            empty.rmdir()


def explain(error: Exception, arguments: list[str]) -> str | None:
    """What went wrong before a run began, in one line.

    Args:
        error: From Hydra, OmegaConf or the file system.
        arguments: The command line.

    Returns:
        None when it is none of these, but a fault of ours.
    """
    if isinstance(error, OSError):
        return (
            f"the output folder must be one that can be written, but {error.filename} cannot "
            f"({error.strerror}); go to another folder or set hydra.run.dir=FOLDER"
        )
    if isinstance(error, ValueError) and "hydra.job_logging" not in str(error):
        if not isinstance(error, (HydraException, OmegaConfBaseException)):
            return _log_file_error(error)
    text = _one_line(error)
    if found := re.match(r"Could not override '([^']+)'", text):
        return unknown_key(found[1], known_keys(arguments, found[1]))
    if found := re.match(r".*Could not find '([^']+)' Available options in '([^']+)': (.*?)(?: Config|$)", text):
        return _unknown_choice(*found.groups())
    return text.split(" Config search path:")[0]


def _log_file_error(error: ValueError) -> str | None:
    """Logging cannot open its file: Python wraps the reason in a ValueError."""
    cause = error.__cause__
    return explain(cause, []) if isinstance(cause, OSError) else None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def known_keys(arguments: list[str], wrong: str) -> list[str]:
    """Every key of the configuration that the other arguments compose.

    Args:
        arguments: The command line.
        wrong: The key that does not exist.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    rest = [a for a in arguments if not a.startswith("-") and a.split("=")[0] != wrong]
    GlobalHydra.instance().clear()
    with suppress(HydraException), initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = OmegaConf.to_container(compose("config", rest), resolve=False)
        return _flat_keys(config, "")
    return []


def _flat_keys(node: Any, prefix: str) -> list[str]:
    if not isinstance(node, dict):
        return [prefix]
    keys = [prefix] if prefix else []
    for name, child in node.items():
        keys += _flat_keys(child, f"{prefix}.{name}" if prefix else str(name))
    return keys


def _unknown_choice(wrong: str, group: str, options: str) -> str:
    choices = options.split()
    name = wrong.removeprefix(f"{group}/")
    close = difflib.get_close_matches(name, choices, n=1)
    hint = f"did you mean {group}={close[0]}?" if close else f"set {group}=CHOICE"
    return f"{group} must be one of {', '.join(choices)}, but is {name}; {hint}"
