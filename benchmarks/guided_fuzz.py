"""Damages the files of one reader after another, guided by the lines that each case reaches.

    python benchmarks/guided_fuzz.py [READER ...] [--seconds S]

Atheris (extra `fuzz`) counts which branches of recsweep a case takes and goes on from those that
took new ones. Each reader has a process of its own for S seconds, 60 without; without names all of
them are tried. A case must be read, or refused in one line, within 10 s of computing. One that is
not is kept as `crash-…` in the current folder, and the exit status is 1.
"""

import argparse
import logging
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
with atheris.instrument_imports(include=["recsweep"]):
    from fuzz.cases import outcome
    from fuzz.test_fuzz_data import READERS, Reader
    from fuzz.test_fuzz_runs import filled_study
    from fuzz.test_fuzz_settings import OVERRIDES, SEARCHES, as_text

    from recsweep.api import load_config
    from recsweep.documents import parse_json, parse_yaml
    from recsweep.errors import InputError
    from recsweep.sweeps.space.dimension import dimension
    from recsweep.sweeps.study.catalog import StudyCatalog

LARGEST = 4096
"""Bytes of a case; longer ones find little more and take their time."""
YAML = (b"a: {b: [1, 2.5, null]}\nc: &x 'text'\nd: [*x, *x]\n",)
JSON = (b'{"a": [1, 2.5, null, true], "b": {"c": "text"}}',)


def read_yaml(file: Path) -> None:
    """A document, whose errors are answered by those who read it."""
    import yaml

    try:
        parse_yaml(file.read_bytes())
    except (ValueError, yaml.YAMLError) as error:
        raise InputError("it must be YAML") from error


def read_json(file: Path) -> None:
    """The same for JSON."""
    try:
        parse_json(file.read_bytes())
    except ValueError as error:
        raise InputError("it must be JSON") from error


def read_search(file: Path) -> None:
    """One dimension of a search space."""
    str(dimension(as_text(file.read_bytes())))


def read_override(file: Path) -> None:
    """One override, which is composed with the rest."""
    text = as_text(file.read_bytes())
    if not text.startswith("-"):
        load_config(text, "data=synthetic")


def read_journal(file: Path) -> None:
    """A study in a journal."""
    studies = StudyCatalog.of({"storage": None, "folder": str(file.parent.parent)})
    studies.load("s")


def journal() -> bytes:
    """One with a complete, a pruned and a running trial."""
    with tempfile.TemporaryDirectory() as folder:
        filled_study(Path(folder) / "s")
        return (Path(folder) / "s" / "journal.log").read_bytes()


def others() -> dict[str, Reader]:
    """Readers of more than data."""
    return {
        "yaml": Reader("x.yaml", YAML, read_yaml),
        "json": Reader("x.json", JSON, read_json),
        "search": Reader("search", tuple(map(str.encode, SEARCHES)), read_search),
        "override": Reader("override", tuple(map(str.encode, OVERRIDES)), read_override),
        "journal": Reader("s/journal.log", (journal(),), read_journal),
    }


def fuzz(reader: Reader, seconds: int) -> None:
    """Damage its files in this process, which ends here."""
    with tempfile.TemporaryDirectory() as name:
        folder, corpus = Path(name) / "work", Path(name) / "corpus"
        corpus.mkdir()
        file = folder / reader.name
        file.parent.mkdir(parents=True)
        for number, content in enumerate(reader.originals):
            (corpus / str(number)).write_bytes(content)

        def case(content: bytes) -> None:
            file.write_bytes(content)
            outcome(lambda _: reader.read(file), content, folder)

        logging.disable(logging.WARNING)
        longest = max(LARGEST, *map(len, reader.originals), 0)
        atheris.Setup([
            sys.argv[0], f"-max_total_time={seconds}", f"-max_len={longest}", "-timeout=120",
            "-print_final_stats=1", str(corpus),
        ], case)  # fmt: skip
        atheris.Fuzz()


def main() -> None:
    """Start a process for each reader and print a line about it."""
    readers = {**READERS, **others()}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(readers))
    parser.add_argument("--seconds", type=int, default=60, help="of each reader")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := sorted(set(options.readers) - set(readers)):
        parser.error(f"READER must be one of {', '.join(readers)}, but is {unknown[0]}")
    if options.alone:
        fuzz(readers[options.readers[0]], options.seconds)
    failed = []
    for name in options.readers or readers:
        command = [sys.executable, __file__, name, "--alone", f"--seconds={options.seconds}"]
        done = subprocess.run(command, env={**os.environ, "JAX_PLATFORMS": "cpu"},
                              capture_output=True, text=True, check=False)  # fmt: skip
        cases = re.search(r"number_of_executed_units: (\d+)", done.stderr)
        branches = re.findall(r"\bcov: (\d+)", done.stderr) or ["0"]
        print(f"{name}: {int(cases[1]) if cases else 0:,} cases, {branches[0]} branches at first, "
              f"{branches[-1]} at last", flush=True)  # fmt: skip
        if done.returncode:
            failed.append(name)
            print(done.stderr[max(done.stderr.find(" === Uncaught"), -4000) :], file=sys.stderr)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
