"""`python -m recsweep`."""

import sys


def main() -> None:
    """Import and run the command line; Ctrl-C exits with one line even during imports."""
    try:
        from recsweep.environment import collect_garbage_rarely

        collect_garbage_rarely()
        from recsweep.command_line import main as run
    except KeyboardInterrupt:
        print("error: stopped by Ctrl-C before anything was done", file=sys.stderr)  # noqa: T201
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
