"""Parts of Markdown."""

from recsweep.comparison.markdown import bullets, code, escape, markdown_table


def test_a_table_escapes_its_head_and_leaves_its_cells() -> None:
    assert markdown_table(["a|b", "c"], [["**1**", "2"]]).splitlines() == [
        r"| a\|b | c |", "| --- | --- |", "| **1** | 2 |",
    ]  # fmt: skip


def test_special_characters_are_text() -> None:
    assert escape("a*b [c] <d> `e`") == r"a\*b \[c] \<d> \`e\`"
    assert escape("a\n\n# b &lt; \x1b") == r"a # b \&lt; \\x1b"
    assert code("a`b\n\nc") == "`a'b c`"
    assert bullets(["x", "y"]) == ["- x", "- y"]
