"""Which names are the same, and which a user may not have."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowlock import texts
from rowlock.accounts import names

SAME = [
    ("maria", "Maria", "MARIA", "\uff4d\uff41\uff52\uff49\uff41"),
    ("Zo\u00e9", "Zoe\u0301", "ZOÉ", "zoé"),
    ("Straße", "STRASSE", "strasse", "stra\u1e9ee"),
    ("Σίσυφος", "σίσυφοσ", "ΣΊΣΥΦΟΣ"),
    ("ﬁn", "fin", "FIN"),
    ("a b", "a\u00a0b", "A  b", "a\u3000b"),
    ("\u1e9b\u0323", "\u1e61\u0323", "ṩ"),
    ("가", "\u1100\u1161"),
    ("x²", "X2"),
]
DIFFERENT = [
    "maria",
    "mária",
    "mari\u0430",
    "ma ria",
    "maria1",
    "\u0131",
    "i",
    "Ада",
    "山田",
    "山田 太郎",
    "/",
]
VALID = [
    "a",
    "x" * 100,
    "😀" * 100,
    "e\u0301" * 100,
    "a/b",
    "..x",
    "%2F",
    "{x}",
    "山田 太郎",
    "ß",
    "नी",
]
INVALID = [
    *("", "x" * 101, "😀" * 101, " ", "\u3000", " maria", "maria ", "maria\u00a0", "\u2003maria"),
    *("a\nb", "a\tb", "\0", "a\x85", "a\u2028b", "a\u2029b", "\ud800"),
    *("a\u200bb", "a\u200d", "\ufeffa", "a\u00ad", "a\u2060b", "\u202ea", "a\u2066b", "a\ufe0f"),
    *("\u2800", "a\u3164", "\uffa0", "a\u115f", "a\u034fb", "a\u061c", "\U000e0041", "a\U000e0100"),
    *("\u0301a", "\u0301", "\u20dda", "\u093ea", "\ufdfa" * 100, "\U0001d15f" * 100),
]


@pytest.mark.parametrize("spellings", SAME)
def test_key__spellings_of_one_name__the_same(spellings: tuple[str, ...]) -> None:
    assert len({names.key(each) for each in spellings}) == 1
    assert all(names.problem(each) is None for each in spellings)


def test_key__names_that_look_different__different() -> None:
    assert len({names.key(each) for each in DIFFERENT}) == len(DIFFERENT)


@pytest.mark.parametrize("name", VALID, ids=ascii)
def test_problem__name_that_a_user_may_have__none(name: str) -> None:
    assert names.problem(name) is None
    assert names.stored_key(name) is not None


@pytest.mark.parametrize("name", INVALID, ids=ascii)
def test_problem__name_that_no_user_may_have__told(name: str) -> None:
    assert names.problem(name) is not None
    assert names.keys_of([name]) == {}


def test_hidden__each_character_that_unicode_calls_format_or_separator__is_in_the_class() -> None:
    missed = [
        hex(code)
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        and not texts.HIDDEN.search(chr(code))
    ]
    assert missed == []
    blanks = [
        chr(code) for code in range(sys.maxunicode) if unicodedata.category(chr(code)) == "Zs"
    ]
    assert not any(texts.VISIBLE.search(each) for each in blanks)


def test_key__every_character__the_same_in_all_its_forms_and_cases() -> None:
    for code in range(sys.maxunicode + 1):
        name = f"x{chr(code)}x"
        if unicodedata.normalize("NFKD", name.casefold()) == name or names.problem(name):
            continue
        key = names.key(name)
        forms = {names.key(unicodedata.normalize(form, name)) for form in ("NFC", "NFD")}
        forms |= {names.key(unicodedata.normalize(form, name)) for form in ("NFKC", "NFKD")}
        assert forms | {names.key(key), names.key(name.casefold())} == {key}, hex(code)


@given(st.text(max_size=12))
def test_key__any_text__is_its_own_key(text: str) -> None:
    assert names.key(names.key(text)) == names.key(text)
    assert names.key(names.normalise(text)) == names.key(text)


def test_match__exact_spelling__goes_before_the_key() -> None:
    users = [("maria", "maria", 1), ("Maria", None, 2), ("maria ", None, 3)]
    found = names.match(["Maria", "MARIA", "maria", "maria ", " maria", "x"], users)
    assert found == {"Maria": 2, "MARIA": 1, "maria": 1, "maria ": 3}


def test_match__decomposed_spelling__the_user_who_is_called_so_once_composed() -> None:
    # As release 0.1.0 left them: the older one has the key.
    users = [("Ren\u00e9", "ren\u00e9", 1), ("ren\u00e9", None, 2)]
    given_names = ["rene\u0301", "Rene\u0301", "REN\u00c9"]
    spellings, keys = names.search_terms(given_names)
    assert set(spellings) == {*given_names, "ren\u00e9", "Ren\u00e9"}
    assert keys == ["ren\u00e9"]
    found = names.match(given_names, users)
    assert list(found.values()) == [2, 1, 1]
