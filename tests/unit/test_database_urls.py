"""URLs of databases: what every driver makes of one, or why it is refused."""

from contextlib import suppress

import pytest
from psycopg.pq import Conninfo

from rowlock.errors import InvalidSettings
from rowlock.settings import database_urls
from tests.support.environments import settings_from


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql:///db", ()),
        ("postgresql://h/db", (("h", 5432),)),
        ("postgresql://h1:1,h2:2/db", (("h1", 1), ("h2", 2))),
        ("postgresql://h1,h2:2/db", (("h1", 5432), ("h2", 2))),
        ("postgresql:///db?host=h1,h2&port=7", (("h1", 7), ("h2", 7))),
        ("postgresql://[::1]:3,[::2]/db", (("::1", 3), ("::2", 5432))),
        ("postgresql://%2Frun%2Fpg:4/db", (("/run/pg", 4),)),
    ],
)
def test_target__hosts__each_with_its_port(url: str, hosts: tuple[tuple[str, int], ...]) -> None:
    assert database_urls.target(url).hosts == hosts


def test_target__options__as_the_driver_names_them() -> None:
    target = database_urls.target(
        "postgresql://u%40x:p%2Fw@h/d%20b?sslmode=require&channel_binding=prefer&gssencmode=disable"
        "&connect_timeout=7&keepalives_idle=30&application_name=x&options=-c%20jit%3Doff"
        "&sslnegotiation=direct"
    )
    assert target.options == {
        "user": "u@x",
        "password": "p/w",
        "database": "d b",
        "server_settings": {"options": "-c jit=off"},
        "direct_tls": True,
        "dsn": "postgresql://?sslmode=require",
    }
    assert (target.connect_timeout_s, target.socket) == (7, {"keepalives_idle": 30})


def test_target__the_systems_certificates__with_the_hosts_name() -> None:
    url = "postgresql://h/d?sslmode=verify-full&sslrootcert=system"
    assert database_urls.target(url).options["ssl"] is True


@pytest.mark.parametrize("url", ["postgresql://h1,h2/db", "postgresql:///db?host=h1,h2"])
def test_several_hosts__not_said_which__the_primary(url: str) -> None:
    assert database_urls.target(url).wants_primary
    for kind, primary in {"primary": True, "read-write": True, "any": False}.items():
        said = f"{url}{'&' if '?' in url else '?'}target_session_attrs={kind}"
        target = database_urls.target(said)
        assert target.wants_primary == primary
        assert f"target_session_attrs={kind}" in target.options["dsn"]
        assert database_urls.for_psycopg(said, 5)["target_session_attrs"] == kind


def test_one_host__never_asked_whether_it_is_the_primary() -> None:
    assert not database_urls.target("postgresql://h/db?target_session_attrs=primary").wants_primary


def test_connect_timeout__in_the_url__prevails() -> None:
    assert database_urls.for_psycopg("postgresql://h/db", 5)["connect_timeout"] == 5
    assert (
        database_urls.for_psycopg("postgresql://h/db?connect_timeout=9", 5)["connect_timeout"]
        == "9"
    )


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p%40@h1:1,h2:2/db?sslmode=require",
        "postgresql:///db?host=%2Ftmp&user=u",
        "postgresql://h/?dbname=db",
        "postgresql://h",
    ],
)
def test_beside__another_database__all_else_the_same(url: str) -> None:
    other = database_urls.beside(url, "a/b")
    assert database_urls.target(other).options["database"] == "a/b"
    wanted = {k: v for k, v in database_urls.for_psycopg(url, 5).items() if k != "dbname"}
    found = {k: v for k, v in database_urls.for_psycopg(other, 5).items() if k != "dbname"}
    assert found == wanted


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("channel_binding=require", "a URL with channel_binding=disable or prefer, or without it"),
        ("gssencmode=require", "a URL with gssencmode=disable or prefer, or without it"),
        ("sslmode=always", "a URL with sslmode=disable or allow or prefer or require or verify-ca"),
        ("connect_timeout=soon", "a URL with another connect_timeout"),
        ("keepalives_idle=-1", "a URL with another keepalives_idle"),
        ("client_encoding=latin1", "a URL with another client_encoding"),
        ("hostaddr=127.0.0.1", "a URL without hostaddr"),
        ("require_auth=scram-sha-256", "a URL without require_auth"),
        ("service=x", "a URL without service"),
        ("replication=database", "a URL without replication"),
        ("colour=red", "a URL without the unknown option colour"),
        ("statement_timeout=5", "a URL without the unknown option statement_timeout"),
        ("host=a,b&port=1,2,3", "a URL with one port, or as many as hosts"),
        ("host=a,,b", "a URL with a name for each of its hosts"),
        ("host=a,b..c", "a URL with hosts whose names DNS allows"),
        (f"host=a,{64 * 'b'}.c", "a URL with hosts whose names DNS allows"),
        ("sslrootcert=system", "a URL with sslmode=verify-full"),
    ],
)
def test_settings__what_a_driver_cannot_do__refused_by_name(query: str, message: str) -> None:
    for name in ("ROWLOCK_DATABASE_URL", "ROWLOCK_EVENTS_DATABASE_URL"):
        with pytest.raises(InvalidSettings) as refused:
            settings_from({name: f"postgresql://u:sekret@h/db?{query}"})
        assert str(refused.value).startswith(f"{name} must be {message}")
        assert "sekret" not in str(refused.value)


@pytest.mark.parametrize("name", [each.keyword.decode() for each in Conninfo.get_defaults()])
def test_settings__any_option_of_libpq__known_or_refused_by_name(name: str) -> None:
    url = f"postgresql://h/db?{name}=1"
    if name in database_urls.KNOWN:
        with suppress(ValueError):  # that value may be wrong
            database_urls.target(url)
    else:
        with pytest.raises(ValueError, match=f"a URL without {name}, "):
            database_urls.target(url)
