"""What stops a start in production, one line each."""

import pytest

from rowlock.errors import InvalidSettings
from rowlock.services import SERVICES
from rowlock.settings import Settings
from rowlock.settings.consistency import FOUR_TIMES, PAIRS, TWICE, Relation
from rowlock.settings.kinds import variable_named
from rowlock.settings.names import ServiceName
from tests.support.environments import settings_from

GOOD = {
    "ROWLOCK_ENV": "production",
    "ROWLOCK_DATABASE_URL": "postgresql://db/rowlock",
    "ROWLOCK_COMMERCE_TOKEN": "token-number-one",
    "ROWLOCK_PROJECTS_TOKEN": "token-number-two",
    "ROWLOCK_EVENTS_TOKEN": "token-number-three",
    "ROWLOCK_CONSOLE_TOKEN": "token-number-four",
    "ROWLOCK_COOKIE_KEY": "cookie-key-of-our-own",
}
AUTH0 = {"ROWLOCK_AUTH0_DOMAIN": "x.eu.auth0.com", "ROWLOCK_AUTH0_AUDIENCE": "https://rowlock"}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        AUTH0,
        {"ROWLOCK_EVENTS_URL": "https://events"},
        {"ROWLOCK_EVENTS_URL": "http://127.0.0.2:3001"},
        {"ROWLOCK_EVENTS_URL": "http://localhost:3001"},
        {"ROWLOCK_EVENTS_URL": "http://events:3001", "ROWLOCK_EVENTS_PLAIN": "1"},
    ],
)
def test_production__all_set__starts(changes: dict[str, str]) -> None:
    settings_from(GOOD | changes, SERVICES)


@pytest.mark.parametrize(
    ("service", "needed"),
    [
        (ServiceName.COMMERCE, {"ROWLOCK_COMMERCE_TOKEN", "ROWLOCK_EVENTS_TOKEN"}),
        (ServiceName.PROJECTS, {"ROWLOCK_PROJECTS_TOKEN", "ROWLOCK_EVENTS_TOKEN"}),
        (ServiceName.EVENTS, {"ROWLOCK_EVENTS_TOKEN"}),
        (
            ServiceName.CONSOLE,
            {"ROWLOCK_CONSOLE_TOKEN", "ROWLOCK_COOKIE_KEY", "ROWLOCK_EVENTS_TOKEN"},
        ),
    ],
)
def test_production__one_service__needs_only_its_tokens(
    service: ServiceName, needed: set[str]
) -> None:
    tokens = {name for name in GOOD if name.endswith(("_TOKEN", "_KEY"))}
    least = {name: text for name, text in GOOD.items() if name not in tokens - needed}
    settings_from(least, [service])
    for missing in needed:
        environ = {name: text for name, text in least.items() if name != missing}
        with pytest.raises(InvalidSettings, match=missing):
            settings_from(environ, [service])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ROWLOCK_PROJECTS_TOKEN": None}, "ROWLOCK_PROJECTS_TOKEN must be set in production"),
        ({"ROWLOCK_EVENTS_TOKEN": None}, "ROWLOCK_EVENTS_TOKEN must be set in production"),
        (
            {"ROWLOCK_PROJECTS_TOKEN": "development-projects-token"},
            "ROWLOCK_PROJECTS_TOKEN must be set in production",
        ),
        ({"ROWLOCK_PROJECTS_TOKEN": "token-number-three"}, "same token"),
        ({"ROWLOCK_PROJECTS_TOKEN": "token-number-one"}, "same token"),
        ({"ROWLOCK_COMMERCE_TOKEN": "a" * 15}, "COMMERCE_TOKEN must have 16 characters at least"),
        ({"ROWLOCK_METRICS_TOKEN": "a"}, "ROWLOCK_METRICS_TOKEN must have 16 characters at least"),
        ({"ROWLOCK_EVENTS_URL": "http://events:3001"}, "EVENTS_URL must start with https://"),
        ({"ROWLOCK_EVENTS_URL": "http://10.0.0.7"}, "EVENTS_URL must start with https://"),
        (AUTH0 | {"ROWLOCK_AUTH0_URL": "http://x"}, "must start with https://"),
    ],
)
def test_production__token_missing_or_shared__refused(
    changes: dict[str, str | None], message: str
) -> None:
    environ = {name: text for name, text in (GOOD | changes).items() if text is not None}
    with pytest.raises(InvalidSettings, match=message):
        settings_from(environ, SERVICES)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"ROWLOCK_AUTH0_DOMAIN": "x.auth0.com"}, "must be set together"),
        ({"ROWLOCK_AUTH0_AUDIENCE": "x"}, "must be set together"),
        (
            AUTH0 | {"ROWLOCK_AUTH0_DOMAIN": "https://x.auth0.com"},
            "must be like example.eu.auth0.com",
        ),
        (AUTH0 | {"ROWLOCK_AUTH0_URL": "x.auth0.com"}, "must be like https://"),
        *(
            ({"ROWLOCK_EVENTS_URL": url}, "must be like https://host:port/path")
            for url in (
                *("localhost:3001", "ftp://x", "http://", "http:///x", "http://[", "http://:80"),
                *("http://x:port", "http://x:80 80", "http://x?a=b", "http://x#a", "http://u:p@x"),
                *("http://a b", "http://x:0", "http://x:65536"),
            )
        ),
        ({"ROWLOCK_WORKER_SILENCE_S": "0"}, "SILENCE_S is '0', but must be a number from 1 to"),
        ({"ROWLOCK_EVENTS_RETENTION_MONTHS": "12001"}, "must be a whole number from 1 to 12000"),
        *(
            ({name: url}, f"{name} must be like postgresql://user:password@host/database")
            for name in ("ROWLOCK_DATABASE_URL", "ROWLOCK_EVENTS_DATABASE_URL")
            for url in (
                *("mysql://u:sekret@x/y", "postgresql+psycopg://x/y", "host=x password=sekret"),
                *("postgresql://u:sek%zzret@x/y", "postgresql://[/x", "postgresql:/x"),
                *("postgresql://x:abc/y", "postgresql://x:99999/y", "postgresql://x:0/y"),
            )
        ),
        *(
            ({name: token}, f"{name} must be visible ASCII characters")
            for name in ("ROWLOCK_EVENTS_TOKEN", "ROWLOCK_COMMERCE_TOKEN", "ROWLOCK_METRICS_TOKEN")
            for token in (" ", "a b", "a\n", "tök", "\x7f")
        ),
    ],
)
def test_settings__half_or_malformed__refused(environ: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidSettings, match=message) as refused:
        settings_from(environ)
    assert "sek" not in str(refused.value)


def test_settings__several_wrong__all_reported_a_line_each_in_order_and_no_secret_shown() -> None:
    wrong = {
        "ROWLOCK_WORKERS": "0",
        "ROWLOCK_COLOUR": "red",
        "ROWLOCK_BATCH_WAIT_S": "soon",
        "ROWLOCK_EVENTS_TOKEN": "sekret token",
        "ROWLOCK_DATABASE_URL": "host=db password=sekret",
        "ROWLOCK_AUTH0_URL": "https://u:sekret@x",
        "ROWLOCK_HOST": "::1",  # which is right
    }
    with pytest.raises(InvalidSettings) as refused:
        settings_from(wrong)
    assert str(refused.value).split("\n") == [
        "ROWLOCK_COLOUR is not a setting of Rowlock.",
        "ROWLOCK_AUTH0_URL must be like https://host:port/path.",
        "ROWLOCK_BATCH_WAIT_S is 'soon', but must be a number from 0 to 2147483647.",
        "ROWLOCK_DATABASE_URL must be like postgresql://user:password@host/database.",
        "ROWLOCK_EVENTS_TOKEN must be visible ASCII characters without blanks.",
        "ROWLOCK_WORKERS is '0', but must be a whole number from 1 to 999999999.",
    ]


def test_production__several_things_missing__all_reported_a_line_each() -> None:
    environ = {"ROWLOCK_ENV": "production", "ROWLOCK_AUTH0_DOMAIN": "x.eu.auth0.com"}
    with pytest.raises(InvalidSettings) as refused:
        settings_from(environ)
    assert str(refused.value).split("\n") == [
        "ROWLOCK_AUTH0_DOMAIN and ROWLOCK_AUTH0_AUDIENCE must be set together.",
        "ROWLOCK_DATABASE_URL must be set in production.",
    ]
    environ |= {
        "ROWLOCK_METRICS_TOKEN": "sekret",
        "ROWLOCK_EVENTS_TOKEN": "sekret",
        "ROWLOCK_EVENTS_URL": "http://events",
        "ROWLOCK_AUTH0_URL": "http://x",
        "ROWLOCK_COLOUR": "red",
        "ROWLOCK_WORKERS": "0",
    }
    with pytest.raises(InvalidSettings) as refused:
        settings_from(environ, SERVICES)
    assert str(refused.value).split("\n") == [
        "ROWLOCK_COLOUR is not a setting of Rowlock.",
        "ROWLOCK_WORKERS is '0', but must be a whole number from 1 to 999999999.",
        "ROWLOCK_AUTH0_DOMAIN and ROWLOCK_AUTH0_AUDIENCE must be set together.",
        "ROWLOCK_DATABASE_URL must be set in production.",
        "In production, set ROWLOCK_COMMERCE_TOKEN, or ROWLOCK_COMMERCE_PUBLIC=1 to leave the "
        "commerce service open.",
        "ROWLOCK_PROJECTS_TOKEN must be set in production, to a token of your own.",
        "ROWLOCK_CONSOLE_TOKEN must be set in production, to a token of your own.",
        "ROWLOCK_COOKIE_KEY must be set in production, to a token of your own.",
        "ROWLOCK_EVENTS_TOKEN must have 16 characters at least in production, such as from: "
        "openssl rand -hex 24.",
        "ROWLOCK_METRICS_TOKEN must have 16 characters at least in production, such as from: "
        "openssl rand -hex 24.",
        "ROWLOCK_EVENTS_TOKEN and ROWLOCK_METRICS_TOKEN have the same token: each needs its own.",
        "ROWLOCK_EVENTS_URL must start with https:// in production, or set "
        "ROWLOCK_EVENTS_PLAIN=1 if it leads through a network of your own.",
        "ROWLOCK_AUTH0_URL must start with https:// in production.",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"ROWLOCK_DATABASE_URL": "db"},
        {"ROWLOCK_COMMERCE_TOKEN": "a b"},
        {"ROWLOCK_PROJECTS_TOKEN": "a b"},
        {"ROWLOCK_EVENTS_TOKEN": "a b"},
        AUTH0 | {"ROWLOCK_AUTH0_DOMAIN": "a b"},
        {"ROWLOCK_LEASE_S": "4", "ROWLOCK_LEASE_RENEW_S": "x"},
        {"ROWLOCK_LEASE_S": "x", "ROWLOCK_LEASE_RENEW_S": "4"},
    ],
)
def test_production__one_wrong__not_reported_as_missing_too(wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidSettings, match=r"^.* must be [^\n]*$"):
        settings_from(GOOD | wrong, SERVICES)


@pytest.mark.parametrize(
    ("name", "relation", "other"), PAIRS, ids=[f"{name}-{other}" for name, _, other in PAIRS]
)
def test_pairs__defaults_hold__and_what_contradicts_is_refused(
    name: str, relation: Relation, other: str
) -> None:
    values = Settings().values()
    small, large = (other, name) if relation in {TWICE, FOUR_TIMES} else (name, other)
    assert values[small] <= values[large]
    environ = {variable_named(small): "5", variable_named(large): "4"}
    with pytest.raises(InvalidSettings) as refused:
        settings_from(environ)
    given = {small: 5, large: 4}
    message = f"{variable_named(name)} ({given[name]}) must be {relation.words} "
    assert str(refused.value).startswith(f"{message}{variable_named(other)} ({given[other]}).")


@pytest.mark.parametrize(("renew", "lease"), [("1", "3"), ("0.1", "0.3"), ("3.333", "10")])
def test_pairs__a_third__is_accepted_to_the_digit(renew: str, lease: str) -> None:
    environ = {"ROWLOCK_LEASE_RENEW_S": renew, "ROWLOCK_LEASE_S": lease}
    assert settings_from(environ).values()["lease_s"] == float(lease)
    with pytest.raises(InvalidSettings, match="must be at most a third of ROWLOCK_LEASE_S"):
        settings_from(environ | {"ROWLOCK_LEASE_RENEW_S": f"{float(renew) + 0.001}"})


OTHERS = ["0.0.0.0", "::", "10.0.0.7", "db.example", " "]


@pytest.mark.parametrize("host", OTHERS)
def test_development__others_reach_it__published_tokens_and_open_service_refused(host: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        settings_from({"ROWLOCK_HOST": host}, SERVICES)
    where = f"where ROWLOCK_HOST is {host}"
    assert str(refused.value).split("\n") == [
        f"W{where[1:]}, set ROWLOCK_COMMERCE_TOKEN, or ROWLOCK_COMMERCE_PUBLIC=1 to leave the "
        "commerce service open.",
        f"ROWLOCK_PROJECTS_TOKEN must be set {where}, to a token of your own.",
        f"ROWLOCK_EVENTS_TOKEN must be set {where}, to a token of your own.",
        f"ROWLOCK_CONSOLE_TOKEN must be set {where}, to a token of your own.",
        f"ROWLOCK_COOKIE_KEY must be set {where}, to a token of your own.",
    ]


@pytest.mark.parametrize("host", OTHERS)
@pytest.mark.parametrize("door", [{"COMMERCE_TOKEN": "a"}, {"COMMERCE_PUBLIC": "1"}])
def test_development__others_reach_it__own_tokens_do(host: str, door: dict[str, str]) -> None:
    own = {"HOST": host, "PROJECTS_TOKEN": "b", "EVENTS_TOKEN": "c"} | door
    own |= {"CONSOLE_TOKEN": "d", "COOKIE_KEY": "e"}
    settings_from({f"ROWLOCK_{name}": text for name, text in own.items()}, SERVICES)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST"])
def test_development__this_machine_only__published_tokens_do(host: str) -> None:
    settings_from({"ROWLOCK_HOST": host}, SERVICES)
