"""`rowlock keys`: API keys of each service, from the command line."""

import re

import aiohttp
import psycopg
import pytest

from rowlock.keys.credentials import hash_of
from rowlock.ops import scopes_page
from tests.support.contract import bearer
from tests.support.documents import ROOT
from tests.support.polling import until
from tests.support.processes import Service, doctor, rowlock

SECRET = re.compile(r"^rk_[0-9a-f]{64}$", re.MULTILINE)
CREATE = ("keys", "create", "partner", "--service")
PATHS = {"commerce": "/invoices", "projects": "/projects", "events": "/events"}


@pytest.fixture
def urls(database_url: str, events_database_url: str) -> dict[str, str]:
    return {"database_url": database_url, "events_database_url": events_database_url}


def only(secrets: list[str]) -> str:
    [secret] = secrets
    return secret


async def make(*arguments: str, **urls: str) -> str:
    """Run a command that shows a secret; return that."""
    status, output = await rowlock(*arguments, **urls)
    assert status == 0, output
    assert "not shown again" in output
    return only(SECRET.findall(output))


async def test_keys__every_service__created_rotated_listed_and_revoked(
    urls: dict[str, str],
) -> None:
    """The service runs meanwhile, and hears of all of it within a few seconds."""
    async with Service(**urls) as served, aiohttp.ClientSession() as session:
        bases = {
            "commerce": served.url,
            "projects": served.projects_url,
            "events": served.events_url,
        }

        async def status_of(service: str, secret: str) -> int:
            url = bases[service] + PATHS[service]
            async with session.get(url, headers=bearer(secret)) as response:
                return response.status

        for service, path in PATHS.items():
            scope = f"{path[1:]}:read"
            first = await make(
                *CREATE, service, "--scope", scope, "--rate", "50", "--expires", "90d", **urls
            )
            assert await status_of(service, first) == 200
            second = await make("keys", "rotate", "partner", "--service", service, **urls)
            third = await make(
                "keys", "rotate", "partner", "--service", service, "--overlap", "1h", **urls
            )
            for secret in (first, second, third):
                assert await status_of(service, secret) == 200
            status, output = await rowlock("keys", "list", "--service", service, **urls)
            name, rate, by = (output.split("\t")[at] for at in (1, 3, 5))
            assert (status, name, rate, by) == (0, "partner", "50", "cli")
            last = await make(
                "keys", "rotate", "partner", "--service", service, "--overlap", "0", **urls
            )
            for secret in (first, second, third):

                async def is_refused(service: str = service, secret: str = secret) -> bool:
                    return await status_of(service, secret) == 401

                await until(is_refused, timeout_s=5)
            assert await status_of(service, last) == 200
        listed = (await rowlock("keys", "list", **urls))[1].splitlines()
        assert [line.split("\t")[0] for line in listed] == ["commerce", "projects", "events"]
        for service in PATHS:
            arguments = ("keys", "revoke", "partner", "--service", service)
            assert (await rowlock(*arguments, **urls))[0] == 0
            status, output = await rowlock(*arguments, **urls)
            assert (status, output) == (1, "rowlock: There is no API key partner.\n")
    assert (await rowlock("keys", "list", **urls)) == (0, "")
    assert (await doctor(**urls))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("commerce", "--scope", "events:read"), "commerce has no scope 'events:read'. Must be"),
        (("events", "--scope", "events:read", "--expires", "soon"), "'soon' is no length of time"),
        (("events", "--scope", "events:read", "--expires", "0"), "expires at once is of no use."),
        (("events", "--scope", "events:read", "--expires", "0d"), "expires at once is of no use."),
        (("events", "--scope", "events:read", "--expires=-1d"), "'-1d' is no length of time"),
        (("events", "--scope", "events:read", "--expires", "-1d"), "'-1d' is no length of time"),
        (("events",), "'--scope'"),
        (("nothing", "--scope", "events:read"), "'--service'"),
        (("events", "--scope", "events:read", "--rate", "0"), "'--rate'"),
    ],
)
async def test_create__wrong_values__refused(
    urls: dict[str, str], arguments: tuple[str, ...], problem: str
) -> None:
    status, output = await rowlock(*CREATE, *arguments, **urls)
    assert status != 0
    assert problem in " ".join(output.replace("│", "").split())


async def test_key__taken_no_name_or_expired__refused_and_the_key_stays(
    urls: dict[str, str],
) -> None:
    arguments = ("events", "--scope", "events:read")
    secret = await make(*CREATE, *arguments, **urls)
    status, output = await rowlock(*CREATE, *arguments, **urls)
    assert (status, output) == (1, "rowlock: There is a key partner already.\n")
    status, output = await rowlock("keys", "create", "Partner", "--service", *arguments, **urls)
    assert status == 1
    assert "'Partner' can't be a name." in output
    status, output = await rowlock(
        "keys", "rotate", "partner", "--service", "events", "--overlap", "366d", **urls
    )
    assert (status, output) == (1, "rowlock: An overlap lasts 365 days at most.\n")
    with psycopg.connect(urls["events_database_url"]) as connection:
        connection.execute("UPDATE api_keys SET expires_at = now()")
    status, output = await rowlock("keys", "rotate", "partner", "--service", "events", **urls)
    problem = "The API key partner has expired: create another one."
    assert (status, output) == (1, f"rowlock: {problem}\n")
    with psycopg.connect(urls["events_database_url"]) as connection:
        rows = connection.execute("SELECT hash, valid_until FROM api_key_secrets").fetchall()
    assert rows == [(hash_of(secret), None)]


def test_scopes_page__all_routes__as_they_are() -> None:
    page = (ROOT / "docs" / "scopes.md").read_text(encoding="utf-8")
    assert page == scopes_page.describe(), "run: rowlock keys scopes > docs/scopes.md"
