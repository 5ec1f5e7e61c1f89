"""Which names are the same, and which a user may not have."""

import re
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


@pytest.mark.parametrize(
    "name",
    [
        "anonymous-7",
        "Anonymous-",
        "ANONYMOUS-x y",
        "\uff41nonymous-7",
        *(f"anonymous{dash}7" for dash in "\u2010\u2011\u2013\u2014\u2212\u2043\u02d7\uff0d"),
    ],
    ids=ascii,
)
def test_problem__name_as_anonymised_users_have__told_but_found_by_its_key(name: str) -> None:
    problem = names.problem(name)
    assert problem is not None
    assert "anonymous-" in problem
    assert names.keys_of([name]) == {name: names.key(name)}


PERSIAN = "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627"  # Ali-Reza, spelt with a non-joiner


@pytest.mark.parametrize("name", ["", "Ada", "Zoe\u0301", PERSIAN], ids=ascii)
def test_person_problem__name_of_a_person__none(name: str) -> None:
    assert names.person_problem(name) is None
    assert not name or re.search(names.PERSON_PATTERN, name)


@pytest.mark.parametrize("name", ["\u202eevil", "a\u200bda", "a\0da", "ada\ufeff", "\u2066ada"])
def test_person_problem__invisible_characters__told(name: str) -> None:
    assert names.person_problem(name) is not None
    assert not re.search(names.PERSON_PATTERN, name)


@pytest.mark.parametrize("name", ["anonymous", "anonymou-s", "anonymous 7", "xanonymous-7"])
def test_problem__name_much_like_those__none(name: str) -> None:
    assert names.problem(name) is None


@pytest.mark.parametrize(
    "email", ["ada@example.com", "a@b", "a@b@c", '"a"@x', "zoé@exämple.com", "A+b@[::1]"]
)
def test_email_problem__address__none(email: str) -> None:
    assert names.email_problem(email) is None


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ada",
        "@",
        "@x",
        "ada@",
        "a da@x",
        " ada@x",
        "ada@x\n",
        "a\u200bda@x",
        "\ufdfa" * 99 + "@x",
    ],
)
def test_email_problem__no_address__told(email: str) -> None:
    assert names.email_problem(email) is not None


def points(text: str) -> list[int]:
    """What the database sorts by, in the order of code points."""
    return [ord(character) for character in text]


@given(st.text(max_size=6), st.text(max_size=6))
def test_beginning__any_two_texts__range_holds_exactly_those_that_begin_so(
    prefix: str, rest: str
) -> None:
    _, first, end = names.beginning(prefix)
    if not first:
        assert first == end  # nothing is between them
        return
    for key in (first + names.key(rest), names.key(rest), names.key(prefix + rest)):
        is_inside = points(first) <= points(key) < points(end)
        assert is_inside == key.startswith(first), ascii(key)


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("Ada", "adb"),
        ("a%", "a&"),
        ("a_", "a`"),
        ("a\\", "a]"),
        ("\ud7ff", "\ue000"),
        ("a\U0010ffff\U0010ffff", "b"),
        ("\U0010ffff", "\U0010ffff" * 501),
    ],
)
def test_beginning__last_characters__end_is_the_next_text(prefix: str, end: str) -> None:
    assert names.beginning(prefix).end_key == end
    end.encode()  # no lone surrogate


def test_beginning__decomposed__found_by_both_spellings() -> None:
    assert names.beginning("Ze\u0301").spellings == ("Ze\u0301", "Z\u00e9")
