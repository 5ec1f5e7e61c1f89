"""What stops a start in production, one line each."""

import pytest

from rowlock.errors import InvalidSettings
from rowlock.services import SERVICES
from tests.support.environments import settings_from

GOOD = {
    "ROWLOCK_ENV": "production",
    "ROWLOCK_DATABASE_URL": "postgresql://db/rowlock",
    "ROWLOCK_COMMERCE_TOKEN": "one",
    "ROWLOCK_PROJECTS_TOKEN": "two",
    "ROWLOCK_EVENTS_TOKEN": "three",
}
AUTH0 = {"ROWLOCK_AUTH0_DOMAIN": "x.eu.auth0.com", "ROWLOCK_AUTH0_AUDIENCE": "https://rowlock"}


@pytest.mark.parametrize("changes", [{}, AUTH0])
def test_production__all_set__starts(changes: dict[str, str]) -> None:
    settings_from(GOOD | changes).check_production(SERVICES)


@pytest.mark.parametrize(
    ("service", "needed"),
    [
        ("commerce", {"ROWLOCK_COMMERCE_TOKEN", "ROWLOCK_EVENTS_TOKEN"}),
        ("projects", {"ROWLOCK_PROJECTS_TOKEN", "ROWLOCK_EVENTS_TOKEN"}),
        ("events", {"ROWLOCK_EVENTS_TOKEN"}),
    ],
)
def test_production__one_service__needs_only_its_tokens(service: str, needed: set[str]) -> None:
    tokens = {name for name in GOOD if name.endswith("_TOKEN")}
    least = {name: text for name, text in GOOD.items() if name not in tokens - needed}
    settings_from(least).check_production([service])
    for missing in needed:
        environ = {name: text for name, text in least.items() if name != missing}
        with pytest.raises(InvalidSettings, match=missing):
            settings_from(environ).check_production([service])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ROWLOCK_PROJECTS_TOKEN": None}, "ROWLOCK_PROJECTS_TOKEN must be set in production"),
        ({"ROWLOCK_EVENTS_TOKEN": None}, "ROWLOCK_EVENTS_TOKEN must be set in production"),
        (
            {"ROWLOCK_PROJECTS_TOKEN": "development-projects-token"},
            "ROWLOCK_PROJECTS_TOKEN must be set in production",
        ),
        ({"ROWLOCK_PROJECTS_TOKEN": "three"}, "same token"),
        ({"ROWLOCK_PROJECTS_TOKEN": "one"}, "same token"),
        (AUTH0 | {"ROWLOCK_AUTH0_URL": "http://x"}, "must start with https://"),
    ],
)
def test_production__token_missing_or_shared__refused(
    changes: dict[str, str | None], message: str
) -> None:
    environ = {name: text for name, text in (GOOD | changes).items() if text is not None}
    settings = settings_from(environ)
    with pytest.raises(InvalidSettings, match=message):
        settings.check_production(SERVICES)


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
        ({"ROWLOCK_WORKER_SILENCE_S": "0"}, "SILENCE_S is '0', but must be a number of at least 1"),
        ({"ROWLOCK_EVENTS_RETENTION_MONTHS": "12001"}, "must be a whole number from 1 to 12000"),
        *(
            ({name: url}, f"{name} must be like postgresql://user:password@host/database")
            for name in ("ROWLOCK_DATABASE_URL", "ROWLOCK_EVENTS_DATABASE_URL")
            for url in (
                *("mysql://u:sekret@x/y", "postgresql+psycopg://x/y", "host=x password=sekret"),
                *("postgresql://u:sek%zzret@x/y", "postgresql://[/x", "postgresql://x/y?z=1"),
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
        "ROWLOCK_BATCH_WAIT_S is 'soon', but must be a number of at least 0.",
        "ROWLOCK_DATABASE_URL must be like postgresql://user:password@host/database.",
        "ROWLOCK_EVENTS_TOKEN must be visible ASCII characters without blanks.",
        "ROWLOCK_WORKERS is '0', but must be a whole number from 1 to 999999999.",
    ]


def test_production__several_things_missing__all_reported_a_line_each() -> None:
    with pytest.raises(InvalidSettings) as refused:
        settings_from(
            {"ROWLOCK_ENV": "production", "ROWLOCK_AUTH0_DOMAIN": "x.eu.auth0.com"},
        )
    assert str(refused.value).split("\n") == [
        "ROWLOCK_AUTH0_DOMAIN and ROWLOCK_AUTH0_AUDIENCE must be set together.",
        "ROWLOCK_DATABASE_URL must be set in production.",
    ]
    settings = settings_from(
        AUTH0
        | {
            "ROWLOCK_ENV": "production",
            "ROWLOCK_DATABASE_URL": "postgresql://db/rowlock",
            "ROWLOCK_METRICS_TOKEN": "sekret",
            "ROWLOCK_EVENTS_TOKEN": "sekret",
            "ROWLOCK_AUTH0_URL": "http://x",
        }
    )
    with pytest.raises(InvalidSettings) as refused:
        settings.check_production(SERVICES)
    assert str(refused.value).split("\n") == [
        "In production, set ROWLOCK_COMMERCE_TOKEN, or ROWLOCK_COMMERCE_PUBLIC=1 to leave the "
        "commerce service open.",
        "ROWLOCK_PROJECTS_TOKEN must be set in production, to a token of your own.",
        "Two settings have the same token: each needs its own.",
        "ROWLOCK_AUTH0_URL must start with https:// in production.",
    ]
