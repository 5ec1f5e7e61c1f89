"""What may be a user's name, and which names are the same: decided here alone.

A name is stored in NFC. Two names, or two e-mail addresses, are the same if their keys are. A key
ignores upper and lower case, how a character is composed, blanks, and what is invisible.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable
from typing import NamedTuple, TypeVar

from rowlock import texts

# Characters.
USERNAME_LENGTH = 100
EMAIL_LENGTH = 320
PERSON_LENGTH = 200  # of a first or a last name

PLAIN = re.compile(rf"[!-~]([ -~]{{0,{USERNAME_LENGTH - 2}}}[!-~])?")

# As patterns of JSON Schema, but for what begins with a combining mark, or is reserved.
_HIDDEN = f"{texts.CONTROLS}{texts.INVISIBLE}"
PATTERN = f"^[^{_HIDDEN}{texts.BLANKS}]([^{_HIDDEN}]*[^{_HIDDEN}{texts.BLANKS}])?$"
EMAIL_PATTERN = f"^[^{_HIDDEN}{texts.BLANKS}]+@[^{_HIDDEN}{texts.BLANKS}]+$"

_SHOWN = f"[^{texts.CONTROLS}{texts.INVISIBLE_BUT_JOINERS}]*"
PERSON_PATTERN = f"^{_SHOWN}[^{_HIDDEN}{texts.BLANKS}]{_SHOWN}$"  # or it is empty

User = TypeVar("User")

# Characters. A key may be longer than its name (one letter becomes up to 18); one of this length
# fits an index.
KEY_LENGTH = 500

RESERVED = "anonymous-"  # how the names begin of users who were anonymised; no new user has such
# Besides all that Unicode calls dashes: what looks like one, by its list of confusables.
DASHES = frozenset("\u02d7\u06d4\u2043\u2212\u23af\u2500\u2796\u2cba\u2cbb")
LAST_CHARACTER = "\U0010ffff"


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
    # Of a plain name, as most are, the key begins as its lower case does.
    is_plain = PLAIN.fullmatch(name)
    if _is_reserved(name.lower() if is_plain else key(name)):
        return f"Must not begin with {RESERVED}: such are the names of anonymised users."
    return None if is_plain else _malformation(name)


def _is_reserved(folded: str) -> bool:
    """Tell whether a name begins as those of anonymised users do, or looks as if it did."""
    stem = len(RESERVED) - 1
    dash = folded[stem : stem + 1]
    is_dash = dash in DASHES or (dash != "" and unicodedata.category(dash) == "Pd")
    return is_dash and folded.startswith(RESERVED[:stem])


def person_problem(name: str) -> str | None:
    """Return why this can't be a first or a last name, or None. Its length is not looked at."""
    if texts.HIDDEN_BUT_JOINERS.search(name):
        return "Must not have control characters or other invisible ones."
    return None


def email_problem(email: str) -> str | None:
    """Return why this can't be an address, or None. Its length is not looked at."""
    local, _, domain = email.rpartition("@")
    is_one_word = email.split() == [email] and not texts.HIDDEN.search(email)
    if local and domain and is_one_word and stored_key(email) is not None:
        return None
    return "Must be an address, such as ada@example.com."


def _malformation(name: str) -> str | None:
    if PLAIN.fullmatch(name):
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
    """Return the keys of those names that are well-formed, by name.

    Any other name is found by its exact spelling alone: an earlier release may have taken it.
    """
    return {name: key(name) for name in names if _malformation(name) is None}


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


class Beginning(NamedTuple):
    """How names begin that are looked for, or addresses."""

    spellings: tuple[str, ...]  # of a whole name without a key, which is found by these alone
    first_key: str  # keys that begin so are from this one on, in the order of code points,
    end_key: str  # and before this one


def beginning(text: str) -> Beginning:
    """Return how to find the names that begin with `text`, compared as names are."""
    first = key(text)
    spellings = tuple({text: None, normalise(text): None})
    return Beginning(spellings, first, _end(first) if first else "")


def _end(prefix: str) -> str:
    """Return the lowest text that is higher than all texts with this prefix, in code points."""
    stem = prefix.rstrip(LAST_CHARACTER)
    if not stem:
        return LAST_CHARACTER * (KEY_LENGTH + 1)  # higher than any key
    following = "\ue000" if stem[-1] == "\ud7ff" else chr(ord(stem[-1]) + 1)  # no surrogate
    return stem[:-1] + following
