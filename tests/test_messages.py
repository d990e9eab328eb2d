"""What messages and tables are made of."""

import pytest

from recsweep.messages import (
    align_columns,
    alike,
    closest,
    describe_error,
    escape_controls,
    one_line,
    print_to_stderr,
    print_to_stdout,
    shorten,
    suggest,
)


def test_a_message_is_one_line() -> None:
    assert one_line(ValueError("a\n  b\tc ")) == "a b c"
    assert describe_error(KeyError("model")) == "KeyError: 'model'"


def test_a_long_text_is_cut_to_its_characters_with_a_mark() -> None:
    assert [shorten("abcdef", n) for n in (7, 6, 5, 1)] == ["abcdef", "abcdef", "abcd…", "…"]


def test_the_closest_name_is_one_that_is_alike_or_none() -> None:
    assert closest("droput", ["beta", "dropout"]) == "dropout"
    assert closest("droput", ["beta"]) is None
    assert closest("EASE", ["ease", "ials"]) == "ease"
    assert closest("iALS", ["als", "IALS"]) == "IALS"
    assert closest("ab", ["abcdef"], cutoff=0.9) is None
    assert closest("x", iter([])) is None


def test_names_that_contain_what_was_typed_come_before_those_that_look_like_it() -> None:
    assert alike("vae", ["multivae-ml", "vea"]) == ["multivae-ml"]
    assert alike("vae", ["ease", "vaes"]) == ["vaes"]
    assert alike("VAE", ["MultiVAE-ml", "ease"]) == ["MultiVAE-ml"]
    assert alike("veas", ["vaes", "ease"])[0] == "vaes"


def test_an_error_ends_with_the_name_that_was_meant_or_with_what_else_to_do() -> None:
    assert suggest("dropout", "see --help") == "did you mean dropout?"
    assert [suggest(none, "see --help") for none in ("", None)] == ["see --help"] * 2


def test_progress_goes_to_stderr_and_leaves_stdout_to_results(
    capfd: pytest.CaptureFixture[str],
) -> None:
    print_to_stderr("trial 3 complete")
    assert capfd.readouterr() == ("", "trial 3 complete\n")


FORGED = "a\x1b[2J\x9b31m\r\n\x7f\u2028error: b\u202ec"
SHOWN = r"a\x1b[2J\x9b31m\r\n\x7f\u2028error: b\u202ec"


def test_no_text_of_others_controls_a_terminal_or_makes_a_line_of_its_own(
    capfd: pytest.CaptureFixture[str],
) -> None:
    print_to_stdout(FORGED, "", "c")
    print_to_stderr(FORGED)
    assert capfd.readouterr() == (f"{SHOWN}\n\nc\n", f"{SHOWN}\n")
    assert align_columns(["x"], [[FORGED]])[2:] == [SHOWN]
    assert one_line(FORGED) == r"a\x1b[2J\x9b31m \x7f error: b\u202ec"


def test_words_of_any_language_are_printed_as_they_are() -> None:
    text = "½ café\tКино 映画 نیم\u200cفاصله 👩\u200d🔬 a\u00a0b ─ ± C:\\n"
    assert escape_controls(text) == text


def test_columns_are_as_wide_as_they_must_be_and_empty_ones_are_left_out() -> None:
    assert align_columns(["a", "none", "long"], [["100", "", "1"], ["1", "", "2"]]) == [
        "  a  long",
        "─────────",
        "100     1",
        "  1     2",
    ]
