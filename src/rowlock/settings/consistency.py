"""Combinations of settings that can't work together, or are not safe where others reach them."""

from collections.abc import Callable, Collection, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from yarl import URL

from rowlock.settings import database_urls
from rowlock.settings.groups import DEVELOPMENT_TOKENS
from rowlock.settings.kinds import HIGHEST_MINOR, show, variable_named
from rowlock.settings.names import ServiceName, is_loopback

if TYPE_CHECKING:
    from rowlock.settings import Settings


LEAST_TOKEN = 16  # characters


class Problem(NamedTuple):
    """The names of the settings that it is about, and one line for the operator."""

    names: Collection[str]
    text: str


class Relation(NamedTuple):
    """A relation between two values, and its words in a message."""

    words: str
    holds: Callable[[float, float], bool]


FOUR_TIMES = Relation("at least four times", lambda long, short: long >= 4 * short)
A_THIRD = Relation("at most a third of", lambda part, whole: round(3 * part - whole, 9) <= 0)
TWICE = Relation("at least twice", lambda long, short: long >= 2 * short)

# The relation of the first setting to the second is required.
PAIRS = (
    # Leaves time for another try when a renewal fails.
    ("lease_renew_s", A_THIRD, "lease_s"),
    # A webhook is valid from the tolerance before its time to the tolerance after it. One that is
    # forgotten earlier could be replayed.
    ("webhook_keep_s", TWICE, "webhook_tolerance_s"),
    # A standby that is not in use must be within half of the lag, by answers that are that old.
    ("read_lag_s", FOUR_TIMES, "watch_s"),
)


def find_problems(settings: "Settings", serving: Collection[ServiceName]) -> Iterator[Problem]:
    """Yield the problems of `settings`, and of serving these services where others are."""
    values = settings.values()
    for name, relation, other in PAIRS:
        if not relation.holds(values[name], values[other]):
            yield Problem(
                (name, other),
                f"{variable_named(name)} ({show(values[name])}) must be {relation.words} "
                f"{variable_named(other)} ({show(values[other])}).",
            )
    yield from _find_odd_amounts(settings)
    if (settings.auth0.auth0_domain is None) != (settings.auth0.auth0_audience is None):
        yield Problem(
            ("auth0_domain", "auth0_audience"),
            "ROWLOCK_AUTH0_DOMAIN and ROWLOCK_AUTH0_AUDIENCE must be set together.",
        )
    projects = settings.projects
    limit_is_set = projects.deployment_limit_s != type(projects)().deployment_limit_s
    if projects.deployment_timeout_s is not None and limit_is_set:
        yield Problem(
            ("deployment_limit_s", "deployment_timeout_s"),
            "ROWLOCK_DEPLOYMENT_TIMEOUT_S is the former name of ROWLOCK_DEPLOYMENT_LIMIT_S: set "
            "the latter alone.",
        )
    production = settings.env == "production"
    if production and settings.database.database_url is None:
        yield Problem(("database_url",), "ROWLOCK_DATABASE_URL must be set in production.")
    yield from _find_lost_standbys(settings)
    if serving:
        if production:
            yield from _find_open_doors(settings, serving, "in production")
            yield from _find_weak_locks(settings, serving)
        elif not is_loopback(settings.addresses.host):
            yield from _find_open_doors(
                settings, serving, f"where ROWLOCK_HOST is {settings.addresses.host}"
            )


def _find_lost_standbys(settings: "Settings") -> Iterator[Problem]:
    """Yield URLs of standbys that have no primary, or name no host to be watched."""
    database = settings.database
    pairs = (
        ("read_database_url", "database_url"),
        ("events_read_database_url", "events_database_url"),
    )
    for read, written in pairs:
        url = getattr(database, read)
        if url is None:
            continue
        if database.database_url is None and getattr(database, written) is None:
            yield Problem(
                (read, written),
                f"{variable_named(read)} needs {variable_named(written)}: the embedded server has "
                "no standby.",
            )
        if not database_urls.target(url).hosts:
            yield Problem((read,), f"{variable_named(read)} must name the standbys' hosts.")


def _find_odd_amounts(settings: "Settings") -> Iterator[Problem]:
    """Yield an amount that the currency does not have."""
    money, amount = settings.money, settings.benefits.opening_balance
    minor = amount.scaleb(money.decimals)
    if minor != int(minor) or minor > HIGHEST_MINOR:
        highest = Decimal(HIGHEST_MINOR).scaleb(-money.decimals)
        yield Problem(
            ("opening_balance", "currency"),
            f"ROWLOCK_OPENING_BALANCE ({show(amount)}) must be an amount of {money.currency}: with "
            f"{money.decimals} decimals at most, and not over {show(highest)}.",
        )


def _find_open_doors(
    settings: "Settings", serving: Collection[ServiceName], where: str
) -> Iterator[Problem]:
    """Yield what any client could enter: open services, and published tokens."""
    addresses = settings.addresses
    if (
        ServiceName.COMMERCE in serving
        and addresses.commerce_token is None
        and not addresses.commerce_public
    ):
        yield Problem(
            ("commerce_token", "commerce_public", "host"),
            f"{where[0].upper()}{where[1:]}, set ROWLOCK_COMMERCE_TOKEN, or "
            "ROWLOCK_COMMERCE_PUBLIC=1 to leave the commerce service open.",
        )
    values = settings.values()
    for name in _tokens(serving, has_shop=settings.has_shop):
        if values[name] in DEVELOPMENT_TOKENS:
            yield Problem(
                (name, "host"),
                f"{variable_named(name)} must be set {where}, to a token of your own.",
            )


def _find_weak_locks(settings: "Settings", serving: Collection[ServiceName]) -> Iterator[Problem]:
    """Yield tokens that could be guessed or do more than they should, and readable traffic."""
    addresses = settings.addresses
    values = settings.values()
    by_token: dict[str, list[str]] = {}
    for name in _tokens(serving, has_shop=settings.has_shop):
        token = values[name]
        if token is None or token in DEVELOPMENT_TOKENS:
            continue
        by_token.setdefault(token, []).append(name)
        if len(token) < LEAST_TOKEN:
            yield Problem(
                (name,),
                f"{variable_named(name)} must have {LEAST_TOKEN} characters at least in "
                "production, such as from: openssl rand -hex 24.",
            )
    for sharing in by_token.values():
        if len(sharing) > 1:
            variables = " and ".join(map(variable_named, sharing))
            yield Problem(sharing, f"{variables} have the same token: each needs its own.")
    # Unset, it is at this machine's own address.
    url = URL(addresses.events_url or "https://")
    if url.scheme != "https" and not addresses.events_plain and not is_loopback(url.host or ""):
        yield Problem(
            ("events_url", "events_plain"),
            "ROWLOCK_EVENTS_URL must start with https:// in production, or set "
            "ROWLOCK_EVENTS_PLAIN=1 if it leads through a network of your own.",
        )
    tenant = settings.auth0.auth0_url
    if tenant is not None and not tenant.startswith("https://"):
        yield Problem(("auth0_url",), "ROWLOCK_AUTH0_URL must start with https:// in production.")


def _tokens(serving: Collection[ServiceName], *, has_shop: bool) -> list[str]:
    """Return the names of the tokens that these services take or send."""
    names = ["commerce_token", "projects_token", "events_token", "metrics_token"]
    if ServiceName.PROJECTS not in serving:
        names.remove("projects_token")  # every service uses the events token
    if ServiceName.CONSOLE in serving:
        names += ["console_token", "console_viewer_token"]
    if ServiceName.CONSOLE in serving or (ServiceName.COMMERCE in serving and has_shop):
        names += ["cookie_key", "cookie_key_before"]
    return names
