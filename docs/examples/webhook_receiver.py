"""Receive Rowlock's webhooks: pip install rowlock.

    WEBHOOK_SECRET=whsec_... python docs/examples/webhook_receiver.py inbox.sqlite3 8080

A request is verified and stored, and answered at once: the work is done afterwards, from the inbox.
A webhook that comes again has the same id, and is stored once. So each is worked on at least once,
and twice only if this process ends between the work and its note in the inbox.
"""

import asyncio
import os
import sqlite3
import sys
from contextlib import suppress

from aiohttp import web

from rowlock.client import WebhookRefused, verify

MOST_BYTES = 1_048_576
SCHEMA = """
CREATE TABLE IF NOT EXISTS inbox (
    webhook_id text PRIMARY KEY,
    type text NOT NULL,
    body text NOT NULL,
    done_at text
)
"""


class Inbox:
    """The webhooks that came, in a file."""

    def __init__(self, path: str) -> None:
        # In a file of SQLite, as it needs no server. Use a table of your own database in its place.
        self._file = sqlite3.connect(path, isolation_level=None)
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = FULL")
        self._file.execute(SCHEMA)

    def add(self, webhook_id: str, kind: str, body: str) -> bool:
        """Store a webhook, and tell whether it is new. It is on the disk once this returns."""
        added = self._file.execute(
            "INSERT INTO inbox (webhook_id, type, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (webhook_id, kind, body),
        )
        return added.rowcount == 1

    def next(self) -> tuple[str, str, str] | None:
        """Return the id, the type and the body of one that is not done; None if all are."""
        found: tuple[str, str, str] | None = self._file.execute(
            "SELECT webhook_id, type, body FROM inbox WHERE done_at IS NULL ORDER BY rowid LIMIT 1"
        ).fetchone()
        return found

    def finish(self, webhook_id: str) -> None:
        """Note that a webhook is done."""
        self._file.execute(
            "UPDATE inbox SET done_at = datetime('now') WHERE webhook_id = ?", (webhook_id,)
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Receiver:
    """Takes webhooks that are signed with one of `secrets`: two of them during a rotation."""

    def __init__(self, inbox: Inbox, secrets: list[str]) -> None:
        self._inbox = inbox
        self._secrets = secrets
        self._came = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        """Answer a webhook: 204 once it is stored, also if it was before; 401 to any other one."""
        body = await request.read()
        try:
            webhook = verify(self._secrets, request.headers, body)
        except WebhookRefused as error:
            return web.Response(status=401, text=str(error))
        if self._inbox.add(webhook.id, webhook.type, body.decode()):
            self._came.set()
        return web.Response(status=204)

    async def work(self) -> None:
        """Work on what is in the inbox, as long as this process runs."""
        while True:
            self._came.clear()
            while (found := self._inbox.next()) is not None:
                webhook_id, kind, body = found
                await handle(kind, body)
                self._inbox.finish(webhook_id)
            await self._came.wait()


async def handle(kind: str, body: str) -> None:
    """Do what a webhook asks for. Here: print it."""
    print(kind, body, flush=True)  # noqa: T201


async def main(path: str, port: int) -> None:
    """Serve until this process is told to end."""
    inbox = Inbox(path)
    receiver = Receiver(inbox, os.environ["WEBHOOK_SECRET"].split())
    app = web.Application(client_max_size=MOST_BYTES)
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        await receiver.work()
    finally:
        await runner.cleanup()
        inbox.close()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1], int(sys.argv[2])))
