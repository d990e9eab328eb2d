"""`python -m recsweep`."""

import sys


def main() -> None:
    """Import and run the command line; Ctrl-C exits with one line even during imports."""
    try:
        from recsweep.environment import settle_own_process

        settle_own_process()
        from recsweep.command_line import main as run
    except KeyboardInterrupt:
        print("error: stopped by Ctrl-C before anything was done", file=sys.stderr)  # noqa: T201
        sys.exit(130)
    except ModuleNotFoundError as error:
        if not error.name or error.name.partition(".")[0] in {"recsweep", "hydra_plugins"}:
            raise
        print(  # noqa: T201
            f"error: recsweep needs the package {error.name}, but {sys.executable} does not have "
            "it; activate the environment that has recsweep, such as . .venv/bin/activate",
            file=sys.stderr,
        )
        sys.exit(1)
    run()


if __name__ == "__main__":
    main()
