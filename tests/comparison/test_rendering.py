"""What a comparison prints and writes."""

import csv
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scored_runs import read_run, scored_run, write_run

from recsweep.comparison.contenders import Contender, group_runs
from recsweep.comparison.page import Section
from recsweep.comparison.rendering import (
    _LATEX,
    comparison_text,
    latex,
    markdown,
    notes,
    write_comparison,
)
from recsweep.comparison.statistics import Statistics, compare
from recsweep.run_files import read_config, write_yaml

METRICS = ("ndcg@100", "recall@20", "recall@50")


def statistics(**changes: Any) -> Statistics:
    values: dict[str, Any] = {"metrics": None, "unit": "users", "test": "t", "confidence": 0.95,
                              "n_resamples": 200, "seed": 0}  # fmt: skip
    return Statistics(**{**values, **changes})


def pair(folder: Path, **of_study: Any) -> list[Contender]:
    """EASE with two seeds, better by .25 for every user but one; and a model of a study."""
    better, other = [0.5, 0.75, 0.5, 0.75], [0.25, 0.5, 0.5, 0.5]
    runs = [scored_run(folder, "ease", better, seed=seed) for seed in (1, 2)]
    return group_runs([*runs, replace(scored_run(folder, "shallow_ae", other), **of_study)])


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def test_the_printed_table_says_means_marks_and_spread(tmp_path: Path) -> None:
    lines = comparison_text(compare(pair(tmp_path), statistics())).splitlines()
    assert lines[0].split() == ["ndcg@10"]
    assert re.fullmatch(r"ease +0\.6250 ± 0\.\d{4} \*", lines[2])
    assert re.fullmatch(r"  sd of 2 seeds +0\.0000", lines[3])
    assert re.fullmatch(r"shallow_ae +0\.4375 ± 0\.\d{4}( †)?", lines[4])
    text = "\n".join(lines)
    assert "over 4 test users" in text
    assert "seeds: ease 1, 2; shallow_ae 42" in text
    assert "split: 555555555555" in text
    assert "paired t-test, two-sided, p adjusted by Holm over the 1 pair of models" in text
    assert "ndcg: Sum of 1/log2" in text


def test_three_metrics_and_long_names_fit_into_100_columns(tmp_path: Path) -> None:
    runs = [
        read_run(write_run(tmp_path / str(n), "multivae", {m: [0.1 * n, 0.5] for m in METRICS},
                           dropout_rate=0.123456 * n, latent_dim=100 * n), str(n))
        for n in (1, 2, 3)
    ]  # fmt: skip
    text = comparison_text(compare(group_runs(runs), statistics()))
    assert max(map(len, text.splitlines())) <= 100, text
    assert "multivae d=.123 z=100" in text


def test_more_metrics_than_fit_beside_each_other_are_a_second_table(tmp_path: Path) -> None:
    values = {name: [0.25, 0.5] for name in (*METRICS, "recall@10")}
    runs = [
        read_run(write_run(tmp_path / model, model, values, objective="recall@10",
                           model_name=f"{model} with a rather long name"), model)
        for model in ("ease", "ials")
    ]  # fmt: skip
    lines = comparison_text(compare(group_runs(runs), statistics())).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].split() == ["recall@10", "ndcg@100", "recall@20"]
    assert lines[4:6] == ["", f"{'':30}recall@50"]
    assert [line.split("  ")[0] for line in lines[2:4]] == [
        line.split("  ")[0] for line in lines[7:9]
    ]


def of_objective(folder: Path, **objectives: str) -> list[Contender]:
    """A run per model with recall and NDCG at two cut-offs."""
    values = {f"{metric}@{k}": [0.5, 0.25] for metric in ("ndcg", "recall") for k in (10, 20)}
    return group_runs([
        read_run(write_run(folder / model, model, values, objective=objective), model)
        for model, objective in objectives.items()
    ])  # fmt: skip


def test_the_objective_is_first_in_every_file(tmp_path: Path) -> None:
    contenders = of_objective(tmp_path, ease="recall@10", ials="recall@10")
    (tmp_path / "out").mkdir()
    text = write_comparison(contenders, tmp_path / "out", statistics())
    order = ["recall@10", "ndcg@20", "recall@20"]
    assert text.splitlines()[0].split() == order
    assert "objective" not in text, "one that all have and that is shown needs no word"
    files = {name: (tmp_path / "out" / f"comparison.{name}").read_text("utf-8")
             for name in ("md", "tex", "html")}  # fmt: skip
    assert "| model | recall@10 | ndcg@20 | recall@20 |" in files["md"]
    assert r"Model & recall@10 & ndcg@20 & recall@20 \\" in files["tex"]
    assert re.findall(r"<th>((?:recall|ndcg)@\d+)</th>", files["html"]) == order
    for name in ("comparison.csv", "pairs.csv"):
        metrics = [row["metric"] for row in rows(tmp_path / "out" / name)]
        assert list(dict.fromkeys(metrics)) == order
    assert {row["objective"] for row in rows(tmp_path / "out" / "comparison.csv")} == {"recall@10"}


def test_objectives_that_differ_or_are_not_shown_are_said(tmp_path: Path) -> None:
    found = compare(of_objective(tmp_path / "a", ease="recall@10", ials="ndcg@20"), statistics())
    assert (
        "objectives on validation differ: recall@10 (ease); ndcg@20 (ials); a model may score "
        "lower in a metric that it was not tuned for"
    ) in notes(found)
    contenders = of_objective(tmp_path / "b", ease="coverage@10", ials="coverage@10")
    assert (
        "coverage@10, an objective on validation, is not in the table: not every run has it for "
        "each user"
    ) in notes(compare(contenders, statistics()))
    contenders = of_objective(tmp_path / "c", ease="recall@10", ials="recall@10")
    assert any(
        note.endswith("is not in the table: task.metrics leaves it out")
        for note in notes(compare(contenders, statistics(metrics=["ndcg@20"])))
    )


def test_a_study_that_looked_at_test_more_than_once_is_marked_everywhere(tmp_path: Path) -> None:
    contenders = pair(tmp_path / "runs", study="s", n_configurations=3)
    (tmp_path / "out").mkdir()
    text = write_comparison(contenders, tmp_path / "out", statistics())
    assert "shallow_ae ‡" in text
    assert "its study scored test for 3 configurations" in text
    written = (tmp_path / "out" / "comparison.md").read_text("utf-8")
    assert "| shallow_ae ‡ |" in written
    assert r"shallow\_ae $^{\ddagger}$ &" in (tmp_path / "out" / "comparison.tex").read_text(
        "utf-8"
    )
    assert "shallow_ae ‡" in (tmp_path / "out" / "comparison.html").read_text("utf-8")
    assert {row["test_configurations"] for row in rows(tmp_path / "out" / "comparison.csv")} == {
        "1", "3",
    }  # fmt: skip
    assert "‡" not in "".join(notes(compare(pair(tmp_path / "others"), statistics())))


def test_several_splits_say_that_users_may_be_in_several(tmp_path: Path) -> None:
    runs = [
        scored_run(tmp_path, model, [0.5, value], seed=n, split=split * 64)
        for model, value in (("ease", 0.5), ("ials", 0.25))
        for n, split in enumerate("12")
    ]
    text = "\n".join(notes(compare(group_runs(runs), statistics())))
    assert "over 4 test users of 2 splits" in text
    assert "those who are in several are not independent" in text
    assert "split: 111111111111, 222222222222" in text


def test_every_single_value_and_every_pair_is_in_a_table_for_programs(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_comparison(pair(tmp_path / "runs"), tmp_path / "out", statistics())
    ease, again, shallow = rows(tmp_path / "out" / "comparison.csv")
    assert [ease[name] for name in ("model", "mean", "seed", "value")] == [
        "ease", "0.625", "1", "0.625",
    ]  # fmt: skip
    spread = ("model", "seed", "n_seeds", "sd_over_seeds")
    assert [again[name] for name in spread] == ["ease", "2", "2", "0.0"]
    assert [shallow[name] for name in spread] == ["shallow_ae", "42", "1", ""]
    (only,) = rows(tmp_path / "out" / "pairs.csv")
    assert (only["a"], only["b"], only["difference"]) == ("ease", "shallow_ae", "0.1875")
    assert only["p"] == only["p_holm"]


def test_both_p_are_written_where_several_pairs_are_corrected_for(tmp_path: Path) -> None:
    values = {
        "ease": [0.5, 0.6, 0.7, 0.8, 0.5, 0.6, 0.7, 0.8],
        "ials": [0.4, 0.5, 0.7, 0.7, 0.4, 0.6, 0.6, 0.9],  # p = .1036 against ease
        "item_knn": [0.4, 0.6, 0.6, 0.7, 0.4, 0.5, 0.8, 0.7],  # .0492 against ease, .7849 ials
    }
    contenders = group_runs(
        [scored_run(tmp_path / "runs", model, each) for model, each in values.items()]
    )
    (tmp_path / "out").mkdir()
    write_comparison(contenders, tmp_path / "out", statistics())
    found = {
        (row["a"], row["b"]): (float(row["p"]), float(row["p_holm"]))
        for row in rows(tmp_path / "out" / "pairs.csv")
    }
    assert found["ease", "item_knn"] == pytest.approx((0.0492, 3 * 0.0492), abs=2e-4)
    assert found["ease", "ials"] == pytest.approx((0.1036, 2 * 0.1036), abs=2e-4)
    text = (tmp_path / "out" / "comparison.md").read_text("utf-8")
    (line,) = [ln for ln in text.splitlines() if "ease − item" in ln]
    assert line.endswith("| .0492 | .1475 |")
    assert text.count("†") >= 2, "both are tied with the best"


def test_the_same_runs_give_the_same_files_byte_for_byte(tmp_path: Path) -> None:
    contenders = pair(tmp_path / "runs")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_comparison(contenders, tmp_path / name, statistics(test="permutation"))
    names = {"comparison.md", "comparison.tex", "comparison.csv", "pairs.csv", "comparison.html"}
    assert {file.name for file in (tmp_path / "one").iterdir()} == names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_what_is_not_comparable_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match="at least two"):
        write_comparison(pair(tmp_path / "runs")[:1], tmp_path / "out", statistics())
    assert list((tmp_path / "out").iterdir()) == []


def test_more_sections_come_before_the_definitions(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    extra = {"Fairness": ("| a |\n| --- |\n| 1 |", None)}
    write_comparison(pair(tmp_path / "runs"), tmp_path / "out", statistics(), extra)
    text = (tmp_path / "out" / "comparison.md").read_text("utf-8")
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    assert titles == [
        "Comparison", "Intervals and replicates", "Differences", "Fairness", "Definitions",
        "Where the numbers come from",
    ]  # fmt: skip
    assert "<h2>Fairness</h2>" in (tmp_path / "out" / "comparison.html").read_text("utf-8")


def test_where_the_numbers_come_from_says_what_is_the_same_once(tmp_path: Path) -> None:
    contenders = pair(tmp_path / "runs", environment={"backend": "tensorflow"})
    (tmp_path / "out").mkdir()
    write_comparison(contenders, tmp_path / "out", statistics())
    text = (tmp_path / "out" / "comparison.md").read_text("utf-8")
    assert "| backend | jax | tensorflow |" in text
    assert "- **ease**: `0` and 1 more\n" in text
    assert "The same for all that noted it: git.commit cccccccccccc; version.numpy 2.0." in text


def test_markdown_has_one_title_and_sections_below_it() -> None:
    assert markdown([Section("A", "b"), Section("C", "d\n")]) == "# A\n\nb\n\n## C\n\nd\n"


# --- LaTeX --------------------------------------------------------------------------------------


HOSTILE = (
    "![p](http://evil.tld/p.png) <script>alert(1)</script> <http://evil.tld> [x](http://evil.tld)"
    "\n\n# Forged\n`a` | &lt; \x1b[2J"
)


@pytest.mark.parametrize("where", ["name", "study", "metric", "data", "environment", "split"])
def test_stored_names_are_text_in_every_file(where: str, tmp_path: Path) -> None:
    noted = {"name": {"model_name": HOSTILE}, "split": {"split": HOSTILE}}.get(where, {})
    metric = f"{HOSTILE}@10" if where == "metric" else "ndcg@10"
    found = []
    for model, values in (("ease", [0.5, 0.6, 0.7]), ("slim", [0.1, 0.3, 0.2])):
        folder = write_run(tmp_path / model, model, {metric: values, "map@10": values}, **noted)
        if where == "data":
            write_yaml(folder / "config.yaml", {**read_config(folder), "data": {"name": HOSTILE}})
        if where == "environment":
            write_yaml(folder / "environment.yaml", {HOSTILE: HOSTILE + model, "a": HOSTILE})
        study = HOSTILE if where == "study" and model == "ease" else None
        found.append(read_run(folder, HOSTILE + model, study, 2))
    out = tmp_path / "out"
    out.mkdir()
    printed = write_comparison(group_runs(found), out, statistics())
    page = (out / "comparison.html").read_text().partition("</head>")[2]
    body = re.sub("<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search("<(img|a)[ >]|<h1>Forged", body)
    assert "alert(1)</script>" not in page
    markdown = re.sub("`[^`]*`", "", (out / "comparison.md").read_text())
    assert not re.search(r"(?<!\\)(<|\[p\]|\[x\])", markdown)
    for text in (printed, markdown, (out / "comparison.tex").read_text()):
        assert "\x1b" not in text
        assert not re.search("^# Forged", text, flags=re.MULTILINE)
    assert "\n\n" not in (out / "comparison.tex").read_text()


def test_latex_is_a_well_formed_booktabs_table(tmp_path: Path) -> None:
    contenders = pair(tmp_path, study="50%_of {β} & #1", n_configurations=2)
    text = latex(compare(contenders, statistics()))
    opened = re.findall(r"\\begin\{(\w+)\}", text)
    closed = re.findall(r"\\end\{(\w+)\}", text)
    assert opened == ["table", "tabular"] == closed[::-1]
    assert re.findall(r"\\(top|mid|bottom)rule", text) == ["top", "mid", "bottom"]
    bare = re.sub(r"\\[\\{}%$_&#]", "", text)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    table = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    lines = [line for line in table.splitlines() if line.endswith(r"\\")]
    assert [len(re.findall(r"(?<!\\)&", line)) for line in lines] == [1, 1, 1]
    assert r"$\mathbf{0.6250 \pm" in text
    assert not re.search(r"(?<!\\)_", text.partition("\n")[2])
    assert all(ord(letter) < 128 for letter in text)


def test_names_with_letters_of_latex_are_escaped(tmp_path: Path) -> None:
    contenders = [replace(each, name=f"{each.name}_50% {{β}} & #1~^\\") for each in pair(tmp_path)]
    text = latex(compare(contenders, statistics()))
    assert (
        r"shallow\_ae\_50\% \{$\beta$\} \& \#1\textasciitilde{}\textasciicircum{}\textbackslash{} &"
    ) in text


def test_latex_compiles(tmp_path: Path) -> None:
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("there is no program pdflatex")
    contenders = pair(tmp_path / "runs", study="a study", n_configurations=2)
    named = [replace(each, name=f"{each.name} é {''.join(_LATEX)}") for each in contenders]
    table = latex(compare(named, statistics()))
    text = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}\n{table}"
    (tmp_path / "x.tex").write_text(f"{text}\\end{{document}}\n", encoding="utf-8")
    subprocess.run(
        [program, "-halt-on-error", "x.tex"], cwd=tmp_path, check=True, capture_output=True
    )
