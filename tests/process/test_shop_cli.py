"""`rowlock shop link`: what docs/shop.md shows."""

import re

import aiohttp
import psycopg
import pytest

from tests.support.processes import Service, rowlock

LINK = re.compile(r"^(http://\S+)/shop/enter\?secret=([\w-]{43})$", re.MULTILINE)


@pytest.fixture
def urls(database_url: str, events_database_url: str) -> dict[str, str]:
    """The databases, with a user."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO users (username) VALUES ('johndoe')")
    return {"database_url": database_url, "events_database_url": events_database_url}


async def test_link__made__signs_in_once(urls: dict[str, str]) -> None:
    status, output = await rowlock("shop", "link", "johndoe", "--expires", "24h", **urls)
    assert status == 0, output
    assert "It signs johndoe in once, until" in output
    found = LINK.search(output)
    assert found is not None, output
    headers = {"Sec-Fetch-Site": "same-origin"}
    async with Service("commerce", **urls) as service, aiohttp.ClientSession() as session:
        for expected in (303, 403):
            response = await session.post(
                f"{service.url}/shop/enter",
                data={"secret": found[2]},
                headers=headers,
                allow_redirects=False,
            )
            assert response.status == expected


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nobody",), "There is no user nobody."),
        (("johndoe", "--expires", "0"), "A link that expires at once is of no use."),
        (("johndoe", "--expires", "soon"), "is no length of time"),
    ],
)
async def test_link__not_possible__says_why(
    urls: dict[str, str], arguments: tuple[str, ...], says: str
) -> None:
    status, output = await rowlock("shop", "link", *arguments, **urls)
    assert (status, says in output) == (1, True), output
