"""What may be a user's name, and which names are the same: decided here alone.

A name is stored in NFC. Two names, or two e-mail addresses, are the same if their keys are. A key
ignores upper and lower case, how a character is composed, blanks, and what is invisible.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable
from typing import TypeVar

from rowlock import texts
from rowlock.accounts.rules import USERNAME_LENGTH

PLAIN = re.compile(rf"[!-~]([ -~]{{0,{USERNAME_LENGTH - 2}}}[!-~])?")

# As a pattern of JSON Schema, but for what begins with a combining mark.
_HIDDEN = f"{texts.CONTROLS}{texts.INVISIBLE}"
PATTERN = f"^[^{_HIDDEN}{texts.BLANKS}]([^{_HIDDEN}]*[^{_HIDDEN}{texts.BLANKS}])?$"

User = TypeVar("User")

# Characters. A key may be longer than its name (one letter becomes up to 18); one of this length
# fits an index.
KEY_LENGTH = 500


def normalise(name: str) -> str:
    """Return the name as it is stored: in NFC."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def key(name: str) -> str:
    """Return what the name is compared by: NFKC, casefolded, with single blanks, all visible."""
    if name.isascii():
        folded = name.lower()
        if folded.isprintable() and " " not in folded:
            return folded
    else:
        # As in Unicode's NFKC_Casefold: a character may fold only once it is decomposed, and be
        # composed anew by folding.
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFD", name).casefold())
        folded = unicodedata.normalize("NFKC", folded.casefold())
        folded = unicodedata.normalize("NFKC", texts.HIDDEN.sub("", folded))
    return " ".join(texts.HIDDEN.sub("", folded).split())


def stored_key(name: str) -> str | None:
    """Return the key that is stored of a name; None for one that is found by its spelling alone."""
    found = key(name)
    return found if 0 < len(found) <= KEY_LENGTH else None


def problem(name: str) -> str | None:
    """Return why a new user can't have this name, or None."""
    if PLAIN.fullmatch(name):  # as most are
        return None
    name = normalise(name)
    checks = (
        (not 1 <= len(name) <= USERNAME_LENGTH, f"Must have 1 to {USERNAME_LENGTH} characters."),
        (texts.HIDDEN.search(name), "Must not have control characters or other invisible ones."),
        (name != name.strip(), "Must not begin or end with a blank."),
        (unicodedata.category(name[:1] or " ")[0] == "M", "Must not begin with a combining mark."),
        (stored_key(name) is None, "Must be shorter: decomposed, it has too many characters."),
    )
    return next((problem for is_wrong, problem in checks if is_wrong), None)


def keys_of(names: Iterable[str]) -> dict[str, str]:
    """Return the keys of those names that a user may have, by name.

    Any other name is found by its exact spelling alone: an earlier release may have taken it.
    """
    return {name: key(name) for name in names if problem(name) is None}


def search_terms(names: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the usernames and the keys of all users whom `match` may need, each once.

    The usernames are the names as they are given and as they are stored.
    """
    spellings = {spelling for name in names for spelling in (name, normalise(name))}
    return list(spellings), list(set(keys_of(names).values()))


def match(names: Collection[str], users: Iterable[tuple[str, str | None, User]]) -> dict[str, User]:
    """Return the user that each name stands for, by name; those of no user are left out.

    `users` are usernames with their stored keys, and what is to be returned. A user who is called
    exactly so, or so once composed, goes before one whose name is the same by its key.
    """
    by_name, by_key = {}, {}
    for username, stored, user in users:
        by_name[username] = user
        by_key[stored] = user
    exact = {name: by_name.get(name) or by_name.get(normalise(name)) for name in names}
    keys = keys_of(name for name, user in exact.items() if user is None)
    found = exact | {name: by_key.get(key) for name, key in keys.items()}
    return {name: user for name, user in found.items() if user is not None}
