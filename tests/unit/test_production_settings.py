"""What stops a start in production, one line each."""

import pytest

from rowlock.errors import InvalidSettings
from rowlock.services import SERVICES
from rowlock.settings import Settings

GOOD = {
    "ROWLOCK_ENV": "production",
    "ROWLOCK_DATABASE_URL": "postgresql://db/rowlock",
    "ROWLOCK_COMMERCE_TOKEN": "one",
    "ROWLOCK_PROJECTS_TOKEN": "two",
    "ROWLOCK_EVENTS_TOKEN": "three",
}
AUTH0 = {"ROWLOCK_AUTH0_DOMAIN": "x.eu.auth0.com", "ROWLOCK_AUTH0_AUDIENCE": "https://rowlock"}


@pytest.mark.parametrize("changes", [{}, AUTH0])
def test_production__all_set__starts(changes):
    Settings.from_environment(GOOD | changes).check_production(SERVICES)


@pytest.mark.parametrize(
    ("service", "needed"),
    [
        ("commerce", {"ROWLOCK_COMMERCE_TOKEN", "ROWLOCK_EVENTS_TOKEN"}),
        ("projects", {"ROWLOCK_PROJECTS_TOKEN", "ROWLOCK_EVENTS_TOKEN"}),
        ("events", {"ROWLOCK_EVENTS_TOKEN"}),
    ],
)
def test_production__one_service__needs_only_its_tokens(service, needed):
    tokens = {name for name in GOOD if name.endswith("_TOKEN")}
    least = {name: text for name, text in GOOD.items() if name not in tokens - needed}
    Settings.from_environment(least).check_production([service])
    for missing in needed:
        environ = {name: text for name, text in least.items() if name != missing}
        with pytest.raises(InvalidSettings, match=missing):
            Settings.from_environment(environ).check_production([service])


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
def test_production__token_missing_or_shared__refused(changes, message):
    environ = {name: text for name, text in (GOOD | changes).items() if text is not None}
    settings = Settings.from_environment(environ)
    with pytest.raises(InvalidSettings, match=message):
        settings.check_production(SERVICES)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"ROWLOCK_AUTH0_DOMAIN": "x.auth0.com"}, "need each other"),
        ({"ROWLOCK_AUTH0_AUDIENCE": "x"}, "need each other"),
        (AUTH0 | {"ROWLOCK_AUTH0_DOMAIN": "https://x.auth0.com"}, "must be a name"),
        (AUTH0 | {"ROWLOCK_AUTH0_URL": "x.auth0.com"}, "must be like https://"),
        *(
            ({"ROWLOCK_EVENTS_URL": url}, "must be like https://host:port/path")
            for url in (
                *("localhost:3001", "ftp://x", "http://", "http:///x", "http://[", "http://:80"),
                *("http://x:port", "http://x:80 80", "http://x?a=b", "http://x#a", "http://u:p@x"),
                *("http://a b", "http://x:0", "http://x:65536"),
            )
        ),
        ({"ROWLOCK_WORKER_SILENCE_S": "0"}, "ROWLOCK_WORKER_SILENCE_S must be at least 1"),
        ({"ROWLOCK_EVENTS_RETENTION_MONTHS": "12001"}, "must be at most 12000"),
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
def test_settings__half_or_malformed__refused(environ, message):
    with pytest.raises(InvalidSettings, match=message) as refused:
        Settings.from_environment(environ)
    assert "sek" not in str(refused.value)
