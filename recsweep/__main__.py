"""`python -m recsweep`."""

from recsweep.command_line import main

if __name__ == "__main__":
    main()
