"""docs/extending.md: its files are written and its commands are run as they stand."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from commands import Ended, run_command

from recsweep import load_config

PAGE = Path(__file__).resolve().parent.parent / "docs" / "extending.md"
SMALL = "tracking=off hydra.run.dir=run evaluation_batch_size=50"
SMALL_DATA = "data=synthetic data.n_users=120 data.n_items=50"
SMALL_SWEEP = "hydra/launcher=basic sweep.n_workers=1 sweep.final_seeds=1 study=s"
TEXT, BLOCKS = PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
FILES = re.findall(r"^`([\w/.]+)`\n\n```(?:python|yaml)\n(.*?)^```", TEXT, BLOCKS)
COMMANDS = [
    line.removeprefix("python -m recsweep ")
    for block in re.findall(r"^```bash\n(.*?)^```", TEXT, BLOCKS)
    for line in block.splitlines()
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every file of the page, and data for its sources."""
    place = tmp_path / "mine"
    for name, content in FILES:
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    items = ["tea", "milk", "rice", "salt", "figs", "nuts", "corn", "oats"]
    rng = np.random.default_rng(1)
    carts = {f"customer {n}": rng.permutation(items)[: rng.integers(5, 8)] for n in range(40)}
    text = "".join(f"{name}: {', '.join(cart)}\n" for name, cart in carts.items())
    (place / "purchases.txt").write_text(text, encoding="utf-8")
    clicks = [(u, i, rng.integers(1, 99)) for u in range(40) for i in rng.permutation(20)[:9]]
    lines = ["user,item,time", *(",".join(map(str, click)) for click in clicks)]
    (place / "clicks.csv").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(place)
    return place


def run(folder: Path, command: str) -> Ended:
    """Run a command of the page with less of everything."""
    words = command.split()
    more = [SMALL, *([] if "data=" in command else [SMALL_DATA, "k=[5,10]"])]
    more += [SMALL_SWEEP] if "-m" in words else []
    more += ["model.hidden_dims=[8] model.latent_dim=4 model.n_epochs=3"] * ("multivae" in command)
    ended = run_command(folder, f"{command} {' '.join(more)}")
    assert ended.code == 0, f"{command}: {ended.err}"
    return ended


def metrics(folder: Path) -> Mapping[str, float]:
    (file,) = folder.glob("run/results/metrics.json")
    found: Mapping[str, float] = json.loads(file.read_text("utf-8"))["test"]["mean"]
    return found


def test_every_kind_of_part_has_its_files_and_its_command() -> None:
    assert len(FILES) == 14
    assert len(COMMANDS) == 8
    for _, group in (name.split("/")[::-1] for name, _ in FILES if "/" in name):
        assert any(f"{group}=" in command for command in COMMANDS), group


@pytest.mark.parametrize("command", [each for each in COMMANDS if " -m " not in each])
def test_a_single_run_of_the_page_goes_through(folder: Path, command: str) -> None:
    run(folder, command)
    found = metrics(folder)
    assert all(np.isfinite(value) for value in found.values())
    if "surprisal" in command:
        definitions = (folder / "run" / "results" / "metric_definitions.yaml").read_text("utf-8")
        assert "surprisal: Mean of -log2(training interactions of an item" in definitions
        environment = (folder / "run" / "results" / "environment.yaml").read_text("utf-8")
        assert "code.surprisal.Surprisal: " in environment, "an edit must be noticed"
        assert found["surprisal@5"] > 3, "of 50 items the average is near log2(50) = 5.6"


@pytest.mark.extended
@pytest.mark.parametrize("command", [each for each in COMMANDS if " -m " in each])
def test_a_sweep_of_the_page_goes_through(folder: Path, command: str) -> None:
    run(folder, command)
    tables = [file.read_text("utf-8") for file in folder.glob("sweeps/*/results/trials.csv")]
    assert tables
    if "corners" in command:
        rows = [line.split(",") for line in tables[0].splitlines()]
        alphas = {row[rows[0].index("model.alpha")] for row in rows[1:]}
        assert alphas <= {"0.5", "0.0", "1.0"}, "the default, then the ends"


def test_validation_may_choose_by_a_metric_of_ones_own(folder: Path) -> None:
    command = "--config-dir=. model=popularity metrics=[ndcg,surprisal] objective=surprisal@10"
    assert "valid surprisal@10" in run(folder, command).err


def test_from_python(folder: Path) -> None:
    config = load_config("model=clicked_together", config_dir=folder)
    assert config["model"] == {"_target_": "clicked_together.ClickedTogether", "alpha": 0.5}


@pytest.mark.extended
def test_a_model_of_ones_own_is_repeated_and_recommends_where_its_folder_or_module_is_named(
    folder: Path,
) -> None:
    run(folder, "--config-dir=. model=clicked_together transform=square_root")
    recommend = "task=recommend task.run=run/results task.overwrite=true k=[5]"
    refused = run_command(folder, recommend)
    assert refused.code == 1
    assert "uses the class 'square_root.SquareRoot', which is not recsweep's" in refused.err
    assert "add 'trust=[clicked_together,square_root]', or name it: --config-dir" in refused.err
    for named in ("--config-dir=.", "trust=[clicked_together,square_root]"):
        ended = run_command(folder, f"{recommend} {named}")
        assert ended.code == 0, ended.err
    ended = run_command(folder, "--config-dir=. task=reproduce task.run=run/results tracking=off")
    assert ended.code == 0, ended.err
    assert "identical" in ended.out
