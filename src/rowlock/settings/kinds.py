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

from rowlock.currencies import DECIMALS
from rowlock.settings import database_urls
from rowlock.settings.database_urls import HIGHEST_PORT

PREFIX = "ROWLOCK_"
Item = TypeVar("Item")
HIGHEST_COUNT = 999_999_999
HIGHEST_SECONDS = 2**31 - 1
HIGHEST_TIMEOUT_S = 2_147_483  # of PostgreSQL's, which counts milliseconds
# As browsers write it, but for the port: https://app.example.com, capacitor://localhost.
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
MOST_DECIMALS = max(DECIMALS.values())
HIGHEST_MINOR = 2**53 - 1  # JSON clients read numbers as floating point
AMOUNT = f"an amount such as 500.00, up to {HIGHEST_MINOR}, of {MOST_DECIMALS} decimals at most"

TOKEN = re.compile("[!-~]+")  # a header can carry these; blanks could get lost
FLAGS: Mapping[str, bool] = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


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
    if isinstance(value, Decimal):
        return f"{value:f}"  # not as 5E+2
    return str(value).removesuffix(".0")


# --- fields of the groups -----------------------------------------------------------------------
# They return Any: the annotations in the groups give the types.


def flag(default: bool | None, meaning: str) -> Any:
    """Return a field that is on or off."""
    return _field(default, meaning, Kind("1 or 0", _read_flag))


def count(default: int, meaning: str, *, least: int = 1, most: int = HIGHEST_COUNT) -> Any:
    """Return a field that is a whole number from `least` to `most`."""
    takes = f"a whole number from {least} to {most}"
    return _field(default, meaning, Kind(takes, partial(_read_count, least, most, takes)))


def port(default: int, meaning: str) -> Any:
    """Return a field that is the number of a TCP port."""
    return count(default, meaning, most=HIGHEST_PORT)


def seconds(
    default: float | None, meaning: str, *, least: float = 0, most: float = HIGHEST_SECONDS
) -> Any:
    """Return a field that is a number of seconds from `least` to `most`."""
    return _number(default, meaning, least, most)


def share(default: float, meaning: str) -> Any:
    """Return a field that is a number from 0 to 1."""
    return _number(default, meaning, 0, 1)


def amount(default: str, meaning: str) -> Any:
    """Return a field that is an amount of money, in major units of the installation's currency."""
    return _field(Decimal(default), meaning, Kind(AMOUNT, _read_amount))


def currency(default: str, meaning: str) -> Any:
    """Return a field that is the code of a currency."""
    return _field(default, meaning, Kind("a code of ISO 4217", _read_currency))


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


def http_urls(meaning: str) -> Any:
    """Return a field that is a list of URLs of HTTP servers."""
    must = "URLs like http://host:port, with commas between them"
    return _field(Listed(), meaning, Kind("URLs", partial(_read_list, _read_http_url, must)))


def nats_urls(meaning: str) -> Any:
    """Return a field that is a list of URLs of NATS servers, or None."""
    return _field(None, meaning, Kind("URLs", _read_nats_urls, is_secret=True))


def networks(meaning: str) -> Any:
    """Return a field that is a list of addresses and networks."""
    must = "addresses or networks like 10.0.0.0/8, with commas between them"
    return _field(Listed(), meaning, Kind("networks", partial(_read_list, ip_network, must)))


def _number(default: float | None, meaning: str, least: float, most: float) -> Any:
    takes = f"a number from {least} to {most}"
    return _field(default, meaning, Kind(takes, partial(_read_number, least, most, takes)))


def _field(default: Any, meaning: str, kind: Kind) -> Any:
    return field(default=default, metadata={"kind": kind, "meaning": meaning})


# --- reading ------------------------------------------------------------------------------------


def _read_flag(given: str) -> bool:
    if given.lower() not in FLAGS:
        raise ValueError("1 or 0")
    return FLAGS[given.lower()]


def _read_count(least: int, most: int, takes: str, given: str) -> int:
    # int() would take blanks, signs, underscores and digits of other scripts, too.
    number = int(given) if re.fullmatch("[0-9]{1,10}", given) else least - 1
    if not least <= number <= most:
        raise ValueError(takes)
    return number


def _read_number(least: float, most: float, takes: str, given: str) -> float:
    try:
        number = float(given)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise ValueError(takes)
    return number


def _read_amount(given: str) -> Decimal:
    # How many decimals it may have depends on the currency: `consistency` looks at both.
    try:
        number = Decimal(given)
    except DecimalException:
        number = Decimal(-1)
    if not (
        number.is_finite()
        and 0 <= number <= HIGHEST_MINOR
        and number == round(number, MOST_DECIMALS)
    ):
        raise ValueError(AMOUNT)
    return number


def _read_currency(given: str) -> str:
    if given not in DECIMALS:
        raise ValueError("the code of a currency in ISO 4217, such as EUR")
    return given


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


def _read_nats_urls(given: str) -> str:
    try:
        for part in given.split(","):
            url = URL(part.strip())
            if url.scheme not in {"nats", "tls"} or not url.host or " " in part.strip():
                raise ValueError
    except ValueError:
        raise ValueError("like nats://host:4222, or several with commas between them") from None
    return given


def _read_list(read: Callable[[str], Any], must: str, given: str) -> Listed[Any]:
    try:
        return Listed(read(part.strip()) for part in given.split(","))
    except ValueError:
        raise ValueError(must) from None


def _read_origin(given: str) -> str:
    if not ORIGIN.fullmatch(given.lower()):
        raise ValueError
    return str(URL(given.lower()).origin())  # without a port that goes without saying
