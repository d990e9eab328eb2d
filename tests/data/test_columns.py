"""Which column is what, by names of the field, by the rows below, and when it is in doubt."""

from pathlib import Path

import pytest

from recsweep.data.columns import (
    KNOWN,
    by_name_or_place,
    looks_like_names,
    plain,
    roles,
    settings_for,
    tell,
)


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.split("/")]


def test_names_are_compared_without_case_punctuation_and_types():
    names = ("User_ID", "userId", "user id", "USER-ID", "user_id:token", "user.id:token_seq")
    assert {plain(name) for name in names} == {"userid"}


def test_no_name_has_two_roles_that_are_looked_for_together():
    for together in (("user", "item", "value", "timestamp", "rank"), ("user", "item", "score")):
        names = [name for role in together for name in KNOWN[role]]
        assert len(names) == len(set(names)), together
    assert all(plain(name) == name for names in KNOWN.values() for name in names)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("user rating item", {"user": 0, "value": 1, "item": 2}),
        ("customer_id stock_code", {"user": 0, "item": 1}),
        ("movieId userId timestamp rating", {"item": 0, "user": 1, "value": 3}),
        ("session_id item_id user_id", {"item": 1, "user": 2}),
        ("user_id:token artist_id:token weight:float", {"user": 0, "item": 1, "value": 2}),
        ("uid sid", {"user": 0, "item": 1}),
        ("item title user", {"item": 0, "user": 2}),
        ("kunde artikel", {}),
    ],
)
def test_columns_are_told_by_their_names(names: str, expected: dict[str, int]):
    assert roles(names.split(), ("user", "item", "value")) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("kunde artikel", {"user": 0, "item": 1}),
        ("kunde artikel anzahl", {"user": 0, "item": 1, "value": 2}),
        ("kunde rating artikel", {"user": 0, "value": 1, "item": 2}),
        ("kunde artikel timestamp", {"user": 0, "item": 1}),
        ("kunde item_id", {"user": 0, "item": 1}),
        ("rating title user", {"value": 0, "item": 1, "user": 2}),
        ("user_id thing number", {"user": 0}),
        ("a b c d", {}),
    ],
)
def test_what_no_name_tells_is_told_by_place_if_there_is_no_choice(
    names: str, expected: dict[str, int]
):
    assert by_name_or_place(names.split()) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user item", True),
        ("item user", True),
        ("customer_id stock_code/u1 i1", True),
        ("user thing/u1 i1", True),
        ("kunden_nr artikel_nr/ann milk", True),
        ("kundeId artikelId/ann milk", True),
        ("id_kunde id_artikel/ann milk", True),
        ("id_1 id_a/id_2 id_b/id_3 id_c", False),
        ("ID-0001 ID-9001/ID-0002 ID-9002", False),
        ("idA1 idB1/idA2 idB2", False),
        ("ID-0001 B07X/ID-0002 B08Y", False),
        ("idKunde ID-Artikel/ann milk", True),
        ("client stock_code/ann milk", True),
        ("kunde artikel/u1 i1/u2 i2", True),
        ("kunde artikel/12 55", True),
        ("kunde artikel anzahl/ann milk 3", True),
        ("u1 i1/u1 i2", False),
        ("u1 i1/u2 i2", False),
        ("ann milk/bob tea", False),
        ("ann milk", False),
        ("ann song", False),
        ("ann song/ann tune", False),
        ("user 7/ann 8", False),
        ("1 a 2/01 b .5", False),
        ("new 12/17 13", False),
        ("user_id x/user_id y", False),
        ("ann song/bob tune", None),
        ("ann milk/7 tea", None),
        ("ann dr-no/bob goldfinger/cid moonraker", None),
        ("kunden_nr artikel/ann milk", None),
        ("u1 i1 x/u2 i2 3", None),
    ],
)
def test_names_are_told_from_ids_or_left_in_doubt(text: str, expected: bool | None):
    assert looks_like_names(rows(text)) is expected


@pytest.mark.parametrize(
    ("names", "taken", "expected"),
    [
        ("user item rating", {"user": 0, "item": 1, "value": 2}, ""),
        ("userId item_id timestamp", {"user": 0, "item": 1}, ""),
        ("user rank item score", {"user": 0, "rank": 1, "item": 2}, ""),
        ("uid song", {"user": 0, "item": 1}, "columns of a.csv: user = uid, item = song"),
        (
            "user item title score rating",
            {"user": 0, "item": 1, "value": 4},
            "columns of a.csv: user = user, item = item, value = rating; not used: title, score",
        ),
    ],
)
def test_what_was_taken_for_what_is_told_unless_it_is_plain(
    names: str, taken: dict[str, int], expected: str, caplog: pytest.LogCaptureFixture
):
    tell(Path("a.csv"), names.split(), taken)
    assert caplog.messages == [expected] * bool(expected)


def test_settings_are_proposed_for_all_columns_that_are_missing() -> None:
    wanted: dict[str, str | int] = {"user": "user", "item": "item", "value": "value"}
    assert settings_for(["customer_id", "stock code", "bought_at"], wanted) == (
        "data.user_column=customer_id 'data.item_column=\"stock code\"' data.value_column=null "
        "(null: every row counts 1)"
    )
    assert settings_for(["user", "movieId", "stars"], wanted) == (
        "data.item_column=movieId data.value_column=stars"
    )
    assert settings_for(["a", "b", "value"], wanted) == (
        "data.user_column=NAME data.item_column=NAME"
    )


def test_a_name_that_is_there_twice_is_not_proposed() -> None:
    wanted: dict[str, str | int] = {"user": "user", "item": 1}
    assert settings_for(["user", "item", "user", "uid"], wanted) == "data.user_column=uid"
    assert settings_for(["user", "item", "user"], wanted) == "data.user_column=NAME"
    assert settings_for(["uid", "item", "uid"], wanted) == "data.user_column=NAME"
