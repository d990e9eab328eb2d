"""Finds the user, item and value columns of a file by their names.

Names are compared without case, punctuation and the types that RecBole appends:
`User_ID`, `userId` and `user_id:token` are the same name.
"""

import logging
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from recsweep import shell

log = logging.getLogger(__name__)

PLAIN = {
    "user": ("user", "userid", "uid"),
    "item": ("item", "itemid", "iid", "sid"),
    "value": ("value", "rating", "score", "count"),
    "rank": ("rank",),
    "score": ("score",),
    "timestamp": ("timestamp", "time"),
    "items": ("items",),
}
"""Role of a column -> its unambiguous names, most common first."""

_OTHERS = {
    "user": (
        "usr useridx userno username userhash customer customerid customerno customernumber cust "
        "custid client clientid member memberid account accountid visitor visitorid reviewer "
        "reviewerid reader readerid listener listenerid viewer viewerid buyer buyerid person "
        "personid profile profileid player playerid steamid session sessionid basket basketid "
        "order orderid invoice invoiceno"
    ),
    "item": (
        "itemidx itemno product productid productcode movie movieid film filmid track trackid song "
        "songid artist artistid album albumid book bookid isbn asin parentasin sku skuid stockcode "
        "article articleid news newsid video videoid show showid game gameid appid app anime "
        "animeid recipe recipeid business businessid restaurant restaurantid venue venueid poi "
        "poiid location locationid place placeid page pageid document documentid docid content "
        "contentid course courseid job jobid offer offerid mbid beer beerid tag tagid"
    ),
    "value": (
        "ratings scores counts values play plays playcount listens listencount listeningcount "
        "streams quantity qty amount weight stars overall frequency freq click clicks clicked "
        "view views viewed purchase purchases purchased bought listened liked like relevance "
        "relevant label feedback preference interaction interactions reviewscore"
    ),
    "rank": "ranking position pos",
    "score": (
        "scores prediction pred predicted predictedscore predictedrating estimate est probability "
        "prob similarity relevance rating value weight"
    ),
    "timestamp": "ts timestamps date datetime unixtime unixreviewtime reviewtime createdat",
    "items": "itemids itemlist recommendations recommended recommendeditems recs",
}

_LIKE_A_NAME = re.compile(
    r"^(?i:id)[\W_]\D{3,}$|^id[A-Z]\D{2,}$|"  # no digits: id_1 is an id
    r"[\W_](?i:id|ids|idx|no|nr|num|number|code|key|name|hash|uuid|guid)$|[a-z]I[dD]$|:token$"
)

NO_GUESS = {"value": "null"}
"""Role of a column -> the setting where no name is like it."""
KNOWN = {role: (*names, *_OTHERS[role].split()) for role, names in PLAIN.items()}
"""Role of a column -> all recognised names, best first."""


def plain(name: str) -> str:
    """A name without case, punctuation and RecBole's type."""
    return re.sub(r"[\W_]+", "", name.partition(":")[0].casefold())


def roles(names: Sequence[str], wanted: Sequence[str]) -> dict[str, int]:
    """Position of each role's column, where a name identifies it.

    If several columns have names of one role, the better name wins.

    Args:
        names: The file's columns.
        wanted: Roles to look for, in this order; a column has at most one.
    """
    found: dict[str, int] = {}
    told = [plain(name) for name in names]
    for role in wanted:
        free = [i for i, name in enumerate(told) if name in KNOWN[role] and i not in found.values()]
        if free:
            found[role] = min(free, key=lambda place: KNOWN[role].index(told[place]))
    return found


def settings_for(names: Sequence[str], wanted: Mapping[str, str | int]) -> str:
    """Settings for the columns that a file lacks, with the names that it seems to have instead.

    Args:
        names: The file's columns.
        wanted: Role -> the name or the position that was looked for.
    """
    missing = [role for role, name in wanted.items() if isinstance(name, str)]
    missing = [role for role in missing if names.count(str(wanted[role])) != 1]
    free = [name for name in names if name not in wanted.values() and names.count(name) == 1]
    found = {role: f"data.{role}_column={NO_GUESS.get(role, 'NAME')}" for role in missing}
    guessed = roles(free, missing)
    for role, place in guessed.items():
        found[role] = shell.setting(f"data.{role}_column", free[place])
    is_counted = "value" in missing and "value" not in guessed
    return shlex.join(found.values()) + " (null: every row counts 1)" * is_counted


def by_name_or_place(names: Sequence[str], others: Sequence[str] = ("value",)) -> dict[str, int]:
    """Positions of the user and item columns and of further roles.

    Roles without a recognised name are assigned by position, in this order, if unambiguous: when
    user and item are both missing, or one column is left for the one missing role.

    Args:
        names: The file's columns.
        others: Further roles.

    Returns:
        Role -> position, without ambiguous roles.
    """
    found = roles(names, ("user", "item", *others))
    missing = [role for role in ("user", "item") if role not in found]
    left = [
        place
        for place, name in enumerate(names)
        if name and not any(plain(name) in known for known in KNOWN.values())
    ]
    if len(missing) == 2 and len(left) == 3 == len(names) and "value" in others:
        missing.append("value")
    if len(missing) == len(left):
        found.update(zip(missing, left, strict=True))
    return {role: found[role] for role in ("user", "item", *others) if role in found}


def looks_like_names(rows: Sequence[Sequence[str]]) -> bool | None:
    """Whether the first row is a header; None = ambiguous.

    A name is not a number and does not recur in its column. It also must be a known name, or
    have no digits where every entry below it has some; all may just end like names.

    Args:
        rows: The first rows of a file with user and item columns, and perhaps values.
    """
    first, rest = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    found = roles(first, ("user", "item"))
    if len(found) == 2:
        return True
    columns = [(name, {row[place] for row in rest}) for place, name in enumerate(first)]
    if not rest or any(_is_number(name) or name in below for name, below in columns):
        return False
    is_plain = any(plain(first[place]) in PLAIN[role] for role, place in found.items())
    alike = [bool(_LIKE_A_NAME.search(name)) for name in first]
    for place in found.values():
        alike[place] = True
    if is_plain or all(alike):
        return True
    stands_out = [not _has_digit(name) and all(map(_has_digit, below)) for name, below in columns]
    has_values = len(first) == 3 and all(map(_is_number, columns[2][1]))
    if all(map(max, stands_out, alike)) or (has_values and not any(map(_has_digit, first))):
        return True
    return None if any(alike) or has_values or any(stands_out) else False


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _has_digit(text: str) -> bool:
    return any(map(str.isdigit, text))


def tell(path: Path, names: Sequence[str], taken: Mapping[str, int]) -> None:
    """Log the role assigned to each column, unless it was unambiguous.

    Args:
        path: The file.
        names: Its columns.
        taken: Role -> position.
    """
    idle = (*PLAIN["timestamp"], *(PLAIN["score"] if "rank" in taken else ()))
    unused = [
        name
        for place, name in enumerate(names)
        if place not in taken.values() and plain(name) not in idle
    ]
    if unused or any(plain(names[place]) not in PLAIN[role] for role, place in taken.items()):
        told = ", ".join(f"{role} = {names[place]}" for role, place in taken.items())
        rest = f"; not used: {', '.join(name or '(no name)' for name in unused)}" if unused else ""
        log.warning("columns of %s: %s%s", path, told, rest)
