"""Kinds of settings: which texts each takes, how it reads them, and how values are shown."""

import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field
from decimal import Decimal, DecimalException
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar

from yarl import URL

from rowlock.settings import database_urls
from rowlock.settings.database_urls import HIGHEST_PORT

PREFIX = "ROWLOCK_"
Item = TypeVar("Item")
HIGHEST_COUNT = 999_999_999
# As browsers write it, but for the port: https://app.example.com, capacitor://localhost.
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
HIGHEST_CENTS = 2**53 - 1  # JSON clients read numbers as floating point
TOKEN = re.compile("[!-~]+")  # a header can carry these; blanks could get lost
FLAGS: Mapping[str, bool] = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


class Cents(int):
    """Minor units; in the environment an amount of major units such as 500.00."""


class Listed(tuple[Item, ...]):
    """Several values; in the environment with commas between them."""

    __slots__ = ()

    def __str__(self) -> str:
        return ",".join(map(str, self))


@dataclass(frozen=True, slots=True)
class Kind:
    """What a setting takes. `read` raises ValueError with the end of "The setting must be …"."""

    takes: str
    read: Callable[[str], Any]
    is_secret: bool = False  # its text and value are never shown


def variable_named(name: str) -> str:
    """Return the environment variable of the setting `name`."""
    return PREFIX + name.upper()


def kind_of(setting: "Field[Any]") -> Kind:
    """Return the kind of a field of a group of settings."""
    kind: Kind = setting.metadata["kind"]
    return kind


def meaning_of(setting: "Field[Any]") -> str:
    """Return the meaning of a field of a group of settings."""
    return str(setting.metadata["meaning"])


def show(value: Any) -> str:
    """Return the text that sets `value` in the environment; "" for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, Cents):
        return str(Decimal(value).scaleb(-2))
    return str(value).removesuffix(".0")


# --- fields of the groups -----------------------------------------------------------------------
# They return Any: the annotations in the groups give the types.


def flag(default: bool, meaning: str) -> Any:
    """Return a field that is on or off."""
    return _field(default, meaning, Kind("1 or 0", _read_flag))


def count(default: int, meaning: str, *, least: int = 1, most: int = HIGHEST_COUNT) -> Any:
    """Return a field that is a whole number from `least` to `most`."""
    return _field(default, meaning, Kind("a whole number", partial(_read_count, least, most)))


def port(default: int, meaning: str) -> Any:
    """Return a field that is the number of a TCP port."""
    return count(default, meaning, most=HIGHEST_PORT)


def seconds(default: float, meaning: str, *, least: float = 0) -> Any:
    """Return a field that is a number of seconds of at least `least`."""
    return _field(default, meaning, Kind("a number", partial(_read_number, least, None)))


def share(default: float, meaning: str) -> Any:
    """Return a field that is a number from 0 to 1."""
    return _field(default, meaning, Kind("a number", partial(_read_number, 0, 1)))


def amount(default: int, meaning: str) -> Any:
    """Return a field that is an amount of money."""
    return _field(Cents(default), meaning, Kind("an amount such as 500.00", _read_cents))


def choice(default: str, meaning: str, *values: str) -> Any:
    """Return a field that is one of `values`."""
    return _field(default, meaning, Kind(" or ".join(values), partial(_read_choice, values)))


def text(default: str | None, meaning: str, pattern: str = "(?s).+", example: str = "") -> Any:
    """Return a field that is a text that `pattern` matches, such as `example`."""
    must = f"like {example}" if example else "a text that is not empty"
    return _field(default, meaning, Kind("a text", partial(_read_text, pattern, must)))


def token(default: str | None, meaning: str) -> Any:
    """Return a field that is a bearer token."""
    return _field(default, meaning, Kind("a token", _read_token, is_secret=True))


def path(default: str, meaning: str) -> Any:
    """Return a field that is the path of a file or folder."""
    read = partial(_read_text, "[^\0]+", "a path")
    return _field(Path(default), meaning, Kind("a path", lambda given: Path(read(given))))


def http_url(default: str | None, meaning: str) -> Any:
    """Return a field that is the URL of an HTTP server."""
    return _field(default, meaning, Kind("a URL", _read_http_url, is_secret=True))


def postgres_url(default: str | None, meaning: str) -> Any:
    """Return a field that is the URL of a PostgreSQL database."""
    return _field(default, meaning, Kind("a URL", database_urls.check, is_secret=True))


def origins(meaning: str) -> Any:
    """Return a field that is a list of origins of pages."""
    must = "origins like https://app.example.com, with commas between them"
    return _field(Listed(), meaning, Kind("origins", partial(_read_list, _read_origin, must)))


def networks(meaning: str) -> Any:
    """Return a field that is a list of addresses and networks."""
    must = "addresses or networks like 10.0.0.0/8, with commas between them"
    return _field(Listed(), meaning, Kind("networks", partial(_read_list, ip_network, must)))


def _field(default: Any, meaning: str, kind: Kind) -> Any:
    return field(default=default, metadata={"kind": kind, "meaning": meaning})


# --- reading ------------------------------------------------------------------------------------


def _read_flag(given: str) -> bool:
    if given.lower() not in FLAGS:
        raise ValueError("1 or 0")
    return FLAGS[given.lower()]


def _read_count(least: int, most: int, given: str) -> int:
    # int() would take blanks, signs, underscores and digits of other scripts, too.
    number = int(given) if re.fullmatch("[0-9]{1,10}", given) else least - 1
    if not least <= number <= most:
        raise ValueError(f"a whole number from {least} to {most}")
    return number


def _read_number(least: float, most: float | None, given: str) -> float:
    try:
        number = float(given)
    except ValueError:
        number = least - 1
    if not (least <= number < 2.0**31 and (most is None or number <= most)):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"a number {bounds}")
    return number


def _read_cents(given: str) -> Cents:
    try:
        cents = Decimal(given).scaleb(2)
    except DecimalException:
        cents = Decimal(-1)
    if not (cents.is_finite() and 0 <= cents <= HIGHEST_CENTS and cents == int(cents)):
        raise ValueError("an amount such as 500.00")
    return Cents(cents)


def _read_choice(values: tuple[str, ...], given: str) -> str:
    if given not in values:
        raise ValueError(f"one of {', '.join(values)}")
    return given


def _read_text(pattern: str, must: str, given: str) -> str:
    if "\0" in given or not re.fullmatch(pattern, given):
        raise ValueError(must)
    return given


def _read_token(given: str) -> str:
    if not TOKEN.fullmatch(given):
        raise ValueError("visible ASCII characters without blanks")
    return given


def _read_http_url(given: str) -> str:
    try:
        url = URL(given)
        extra = url.raw_user or url.query_string or url.fragment or " " in given
        if url.scheme in {"http", "https"} and url.host and url.port and not extra:
            return given
    except ValueError:
        pass
    raise ValueError("like https://host:port/path")


def _read_list(read: Callable[[str], Any], must: str, given: str) -> Listed[Any]:
    try:
        return Listed(read(part.strip()) for part in given.split(","))
    except ValueError:
        raise ValueError(must) from None


def _read_origin(given: str) -> str:
    if not ORIGIN.fullmatch(given.lower()):
        raise ValueError
    return str(URL(given.lower()).origin())  # without a port that goes without saying
