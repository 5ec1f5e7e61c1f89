"""Templates: Jinja2, with everything escaped and nothing undefined, and how values are shown."""

from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache, partial

import orjson
from jinja2 import DictLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined
from markupsafe import Markup

from rowlock import __version__
from rowlock.pages import forms, static
from rowlock.settings.money import MoneySettings

PACKAGES = ("pages", "console", "shop")
NOTHING = "\N{EN DASH}"
# What the paths of the service begin with, in the request under way: behind a proxy that adds it.
BASE: ContextVar[str] = ContextVar("base", default="")
MINUTE, HOUR, DAY = 60, 3600, 86_400
FEW = 10  # of which decimals matter

# Which state is good, bad, or to be watched; the others are on their way.
STATES: Mapping[str, str] = {
    **dict.fromkeys(("approved", "paid", "done", "active", "delivered", "ready", "ok"), "good"),
    **dict.fromkeys(("refused", "failed", "disabled", "not ready", "reversed", "bad"), "bad"),
    **dict.fromkeys(("failing", "retired", "parked", "stopped", "warn"), "warn"),
    **dict.fromkeys(("cancelled", "void", "ended", "superseded"), "off"),
}


@cache
def make_environment(money: MoneySettings) -> Environment:
    """Return the environment in which all templates are rendered.

    All are read now: the files of another release may take their places while this one runs. Each
    is compiled when it is shown for the first time: to compile all would take each process a third
    of a second at its start.
    """
    environment = Environment(
        loader=PrefixLoader({name: _read(name) for name in PACKAGES}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals |= {
        "asset": _asset,
        "draw_key": forms.draw_key,
        "currency": money.currency,
        "state_of": _state_of,
        "url": _url,
        "version": __version__,
    }
    environment.filters |= {
        "duration": show_duration,
        "json_lines": _json_lines,
        "money": partial(show_money, decimals=money.decimals),
        "number": show_number,
        "percent": show_percent,
        "rate": show_rate,
        "time": show_time,
    }
    # Not imported by each template: a live part is rendered without what stands around it.
    environment.globals["parts"] = environment.get_template("pages/parts.html").module
    return environment


def _read(package: str) -> DictLoader:
    """Return the templates of a package as they are now."""
    files = PackageLoader(f"rowlock.{package}")
    environment = Environment(autoescape=True)  # it only reads
    names = files.list_templates()
    return DictLoader({name: files.get_source(environment, name)[0] for name in names})


def show_number(number: float | None) -> str:
    """Return a number with commas between thousands."""
    return NOTHING if number is None else f"{number:,}"


def show_rate(rate: float) -> str:
    """Return how many there are a second, to two digits if they are few."""
    return f"{rate:,.0f}/s" if rate >= FEW else f"{rate:.2g}/s"


def show_percent(share: float) -> str:
    """Return a share in percent."""
    return f"{share * 100:.2f} %"


def show_money(amount: int | None, decimals: int) -> str:
    """Return an amount of minor units in major ones, with all its decimals."""
    if amount is None:
        return NOTHING
    major, minor = divmod(abs(amount), 10**decimals)
    sign = "\N{MINUS SIGN}" if amount < 0 else ""
    return f"{sign}{major:,}" + (f".{minor:0{decimals}d}" if decimals else "")


def show_time(at: datetime | None, style: str = "second") -> Markup:
    """Return an element with a time in UTC.

    The style is `second`, `milli`, `day`, or `ago`, which a script keeps up to date.
    """
    if at is None:
        return Markup("{}").format(NOTHING)
    at = at.astimezone(UTC)
    machine = at.isoformat().replace("+00:00", "Z")
    exact = f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} UTC"
    shown = {
        "day": f"{at:%Y-%m-%d}",
        "milli": f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}",
        "second": f"{at:%Y-%m-%d %H:%M:%S}",
    }.get(style) or _ago((datetime.now(UTC) - at).total_seconds())
    mark = Markup(" data-ago") if style == "ago" else ""
    return Markup('<time datetime="{}" title="{}"{}>{}</time>').format(machine, exact, mark, shown)


def show_duration(seconds: float | None) -> str:
    """Return a length of time in one or two units."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE:.0f} min {seconds % MINUTE:.0f} s"
    if seconds < DAY:
        return f"{seconds // HOUR:.0f} h {seconds % HOUR // MINUTE:.0f} min"
    return f"{seconds // DAY:.0f} d {seconds % DAY // HOUR:.0f} h"


def _ago(seconds: float) -> str:
    if seconds < MINUTE:
        return "just now"
    for unit, length in (("d", DAY), ("h", HOUR), ("min", MINUTE)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit} ago"
    raise AssertionError


def _json_lines(text: str) -> str:
    """Return JSON with indents, to be read."""
    return orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2).decode()


def _state_of(word: str) -> str:
    return STATES.get(word, "")


def _asset(name: str) -> str:
    """Return the path of a static file."""
    return _url(static.load()[name].address)


def _url(path: str) -> str:
    """Return a path as browsers know it."""
    return BASE.get() + path
