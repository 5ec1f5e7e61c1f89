"""`rowlock subscriptions`: webhooks from the command line, and what doctor says of them."""

import re
from collections.abc import AsyncIterator, Sequence

import psycopg
import pytest

from tests.support.polling import until
from tests.support.processes import Service, doctor, rowlock
from tests.support.receiver import Received, Receiver, answer
from tests.support.servers import Server

SECRET = re.compile(r"^whsec_[A-Za-z0-9+/]{43}=$", re.MULTILINE)
UNKNOWN = "rowlock: There is no subscription 99.\n"


@pytest.fixture
def urls(database_url: str, events_database_url: str) -> dict[str, str]:
    return {
        "database_url": database_url,
        "events_database_url": events_database_url,
        "webhooks_private": "1",
    }


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = Server(receiver.app)
    await server.start_server()
    receiver.url = str(server.make_url("")).rstrip("/")
    yield receiver
    receiver.released.set()
    await server.close()


async def run(*arguments: str, **urls: str) -> str:
    """Run a command that succeeds; return what it printed."""
    status, output = await rowlock("subscriptions", *arguments, **urls)
    assert status == 0, output
    return output


def cells(output: str) -> list[Sequence[str]]:
    return [line.split("\t") for line in output.splitlines()]


async def test_subscriptions__with_a_service__posted_as_each_command_says(
    urls: dict[str, str], receiver: Receiver
) -> None:
    """The service runs meanwhile, and hears of all of it within a few seconds."""
    url = f"{receiver.url}/hook?key=hidden"

    def received(webhook_id: str) -> list[Received]:
        return [each for each in receiver.received if each.id == webhook_id]

    async with Service("events", **urls):
        output = await run(
            "create",
            url,
            "--name",
            "subscription.*",
            "--name",
            "x",
            "--description",
            "Ours",
            **urls,
        )
        [secret] = SECRET.findall(output)
        assert "Subscription 1 created." in output
        assert "not shown again" in output

        # Besides the test, it gets the events of its own changes.
        [delivery] = re.findall(
            r"^Delivery (\d+) is a test\.$", await run("test", "1", **urls), re.MULTILINE
        )
        await until(lambda: received(f"test_{delivery}"))
        assert all(posted.verified_by(secret) for posted in receiver.received)

        output = await run("rotate", "1", "--overlap", "1h", **urls)
        [second] = SECRET.findall(output)
        output = await run("resend", delivery, **urls)
        assert output == f"Delivery {delivery} is posted again.\n"
        await until(lambda: len(received(f"test_{delivery}")) == 2)

        assert await run("disable", "1", **urls) == "Subscription 1 disabled.\n"
        status, output = await rowlock("subscriptions", "test", "1", **urls)
        assert (status, output) == (
            1,
            "rowlock: The subscription is not active: enable it first.\n",
        )
        assert await run("enable", "1", **urls) == "Subscription 1 enabled.\n"
        # That it was disabled came to no one.
        names = [posted.json["type"] for posted in receiver.received]
        assert "subscription.disabled" not in names
        assert "recovering since " in await run("recover", "1", "--since", "1h", **urls)
        await until(
            lambda: "subscription.disabled" in [each.json["type"] for each in receiver.received]
        )
        receiver.received[-1].verified_by(second)

    [row] = cells(await run("list", **urls))
    assert row[:5] == ["1", f"{receiver.url}/hook?…", "subscription.* x", "active", ""]
    shown = {row[0]: row[1] for row in cells(await run("show", "1", **urls))}
    assert shown["url"] == f"{receiver.url}/hook?…"
    assert shown["description"] == "Ours"
    assert shown["by"] == "cli"
    assert shown["old secret until"]
    listed = cells(await run("deliveries", "1", "--status", "delivered", "--limit", "1", **urls))
    assert len(listed) == 1
    assert listed[0][3] == "delivered"
    assert await run("deliveries", "1", "--status", "failed", **urls) == ""
    assert await run("delete", "1", **urls) == "Subscription 1 deleted.\n"
    assert await run("list", **urls) == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "99"),
        ("enable", "99"),
        ("disable", "99"),
        ("delete", "99"),
        ("rotate", "99"),
        ("recover", "99", "--since", "1h"),
        ("test", "99"),
        ("deliveries", "99"),
    ],
    ids=lambda arguments: arguments[0],
)
async def test_subscription__unknown__refused(
    urls: dict[str, str], arguments: tuple[str, ...]
) -> None:
    status, output = await rowlock("subscriptions", *arguments, **urls)
    assert (status, output) == (1, UNKNOWN)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("create", "ftp://example.com", "--name", "x"), "Must start with http:// or https://."),
        (
            ("create", "http://u:p@example.com", "--name", "x"),
            "Must not have a user or a password.",
        ),
        (("create", "http://127.0.0.1/", "--name", "x"), "Must not be at 127.0.0.1"),
        (("create", "http://localhost/", "--name", "x"), "an address outside the public internet"),
        (("create", "https://example.com", "--name", "in*voice"), "is neither a name of events"),
        (("create", "https://example.com"), "'--name'"),
        (("deliveries", "1", "--status", "lost"), "--status is one of pending, delivered, failed."),
        (("recover", "1", "--since", "soon"), "'soon' is no length of time"),
        (("resend", "99"), "There is no delivery 99."),
        (("show", "0"), "should be greater than or equal to 1"),
    ],
)
async def test_subscriptions__wrong_values__refused(
    urls: dict[str, str], arguments: tuple[str, ...], problem: str
) -> None:
    status, output = await rowlock(
        "subscriptions", *arguments, **(urls | {"webhooks_private": "0"})
    )
    assert status != 0
    assert problem in " ".join(output.replace("│", "").split())


async def test_doctor__subscriptions_that_fail_or_were_stopped__named_as_a_warning(
    urls: dict[str, str], receiver: Receiver
) -> None:
    def line(output: str) -> str:
        [found] = [each for each in output.splitlines() if " subscriptions: " in each]
        return found

    assert line((await doctor(**urls))[1]).endswith("subscriptions: 0 subscriptions")
    receiver.behaviours["/bad"] = answer(500)
    receiver.behaviours["/gone"] = answer(410)
    async with Service("events", **urls):
        for path in ("good", "bad", "gone", "off"):
            await run("create", f"{receiver.url}/{path}", "--name", "nothing", **urls)
        for number in ("1", "2", "3"):
            await run("test", number, **urls)
        await run("disable", "4", **urls)  # by hand: nothing is wrong

        def are_known() -> bool:
            with psycopg.connect(urls["events_database_url"]) as connection:
                rows = connection.execute(
                    "SELECT count(*) FROM subscriptions WHERE delivered + failed > 0"
                )
                return rows.fetchone() == (3,)

        await until(are_known)
    status, output = await doctor(**urls)
    assert status == 0, output
    assert line(output).startswith("warn")
    assert line(output).endswith(
        "4 subscriptions, 2 of them fail: 3 (gone), 2 (http_500); see rowlock subscriptions list"
    )
