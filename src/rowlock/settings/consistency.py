"""Combinations of settings that can't work together, or are not safe in production."""

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, NamedTuple

from rowlock.settings.groups import DEVELOPMENT_TOKENS
from rowlock.settings.kinds import show, variable_named
from rowlock.settings.names import ServiceName

if TYPE_CHECKING:
    from rowlock.settings import Settings


class Problem(NamedTuple):
    """The names of the settings that it is about, and one line for the operator."""

    names: Collection[str]
    text: str


class Relation(NamedTuple):
    """A relation between two values, and its words in a message."""

    words: str
    holds: Callable[[float, float], bool]


A_THIRD = Relation("at most a third of", lambda part, whole: round(3 * part - whole, 9) <= 0)
TWICE = Relation("at least twice", lambda long, short: long >= 2 * short)

# The relation of the first setting to the second is required.
PAIRS = (
    # Leaves time for another try when a renewal fails.
    ("lease_renew_s", A_THIRD, "lease_s"),
    # A webhook is valid from the tolerance before its time to the tolerance after it. One that is
    # forgotten earlier could be replayed.
    ("webhook_keep_s", TWICE, "webhook_tolerance_s"),
)


def find_problems(settings: "Settings", serving: Collection[ServiceName]) -> Iterator[Problem]:
    """Yield the problems of `settings`; in production also those of serving these services."""
    values = settings.values()
    for name, relation, other in PAIRS:
        if not relation.holds(values[name], values[other]):
            yield Problem(
                (name, other),
                f"{variable_named(name)} ({show(values[name])}) must be {relation.words} "
                f"{variable_named(other)} ({show(values[other])}).",
            )
    if (settings.auth0.auth0_domain is None) != (settings.auth0.auth0_audience is None):
        yield Problem(
            ("auth0_domain", "auth0_audience"),
            "ROWLOCK_AUTH0_DOMAIN and ROWLOCK_AUTH0_AUDIENCE must be set together.",
        )
    if settings.env == "production":
        if settings.database.database_url is None:
            yield Problem(("database_url",), "ROWLOCK_DATABASE_URL must be set in production.")
        if serving:
            yield from _find_open_doors(settings, serving)


def _find_open_doors(settings: "Settings", serving: Collection[ServiceName]) -> Iterator[Problem]:
    """Yield what would leave a service in production open to others, or its traffic readable."""
    addresses = settings.addresses
    if (
        ServiceName.COMMERCE in serving
        and addresses.commerce_token is None
        and not addresses.commerce_public
    ):
        yield Problem(
            ("commerce_token", "commerce_public"),
            "In production, set ROWLOCK_COMMERCE_TOKEN, or ROWLOCK_COMMERCE_PUBLIC=1 to leave "
            "the commerce service open.",
        )
    names = ["commerce_token", "projects_token", "events_token", "metrics_token"]
    if ServiceName.PROJECTS not in serving:
        names.remove("projects_token")  # every service uses the events token
    by_token: dict[str, list[str]] = {}
    for name in names:
        token = getattr(addresses, name)
        if token in DEVELOPMENT_TOKENS:
            yield Problem(
                (name,),
                f"{variable_named(name)} must be set in production, to a token of your own.",
            )
        elif token is not None:
            by_token.setdefault(token, []).append(name)
    for sharing in by_token.values():
        if len(sharing) > 1:
            variables = " and ".join(map(variable_named, sharing))
            yield Problem(sharing, f"{variables} have the same token: each needs its own.")
    url = settings.auth0.auth0_url
    if url is not None and not url.startswith("https://"):
        yield Problem(("auth0_url",), "ROWLOCK_AUTH0_URL must start with https:// in production.")
