"""What the dispatcher has in memory, and how it reads more: the log, and rows that are due."""

import asyncio
from datetime import UTC, datetime

from rowlock.engine.database import Database
from rowlock.engine.statements import queries
from rowlock.events.reads import find_events
from rowlock.settings.features import SubscriptionSettings
from rowlock.subscriptions.queues import (
    BATCH_DUE,
    Delivery,
    Endpoint,
    Letter,
    Window,
    write_body,
    write_test,
)
from rowlock.subscriptions.rules import like

WINDOW_LETTERS = 5000
WINDOW_BYTES = 33_554_432
RECOVERING = 1000  # deliveries of a subscription that wait at most while it recovers more


class Board:
    """The active subscriptions with their queues, and the place in the log."""

    def __init__(self, database: Database, settings: SubscriptionSettings, position: int) -> None:
        """Begin after the place `position`."""
        self.endpoints: dict[int, Endpoint] = {}
        self.window = Window(position)
        # To be written, but for what requests come to:
        self.aside: list[Delivery] = []
        self.lost: list[Delivery] = []  # rows whose events are gone
        self.recovered: list[tuple[Endpoint, int]] = []
        self._database = database
        self._settings = settings
        self._patterns: list[str] = []
        self._version = -1  # of the subscriptions that are known
        self._loop = asyncio.get_running_loop()

    async def renew(self) -> None:
        """Learn which subscriptions there are."""
        async with self._database.connection() as connection:
            [cursor] = await queries.subscriptions.find_cursor(connection)  # before the others
            rows = await queries.subscriptions.list_active(connection)
            new = [row["id"] for row in rows if row["id"] not in self.endpoints]
            counts = (
                await queries.subscriptions.count_pending(connection, subscription_ids=new)
                if new
                else []
            )
        for gone in self.endpoints.keys() - {row["id"] for row in rows}:
            self.drop(self.endpoints.pop(gone))
        for row in rows:
            endpoint = self.endpoints.get(row["id"])
            if endpoint is None:
                self.endpoints[row["id"]] = Endpoint.of(row)
            else:
                endpoint.renew(row)
        for count in counts:
            self.endpoints[count["subscription_id"]].pending = count["pending"]
        self._version = cursor["version"]
        names = {name for row in rows for name in row["names"]}
        self._patterns = [like(name) for name in sorted(names)]
        if rows and not len(self.window):
            # No subscription wants what is before.
            first = min(endpoint.starts_after for endpoint in self.endpoints.values())
            self.window.read = max(self.window.read, first)

    def drop(self, endpoint: Endpoint) -> None:
        """Forget a subscription that is not active any more."""
        endpoint.is_gone = True
        for delivery in (*endpoint.queue, *endpoint.under_way):
            close(delivery)  # the cursor does not wait for what becomes of it
        endpoint.queue.clear()

    async def read_log(self) -> bool:
        """Read a page of the log, if there is room; return whether there may be more."""
        window = self.window
        window.advance()
        if not self.endpoints:
            return False
        if len(window) >= WINDOW_LETTERS or window.bytes >= WINDOW_BYTES:
            return False
        now = self._loop.time()
        if any(endpoint.is_full(now) for endpoint in self.endpoints.values()):
            return False
        page_size = self._settings.dispatch_page_events
        async with self._database.connection() as connection:
            rows = await queries.subscriptions.read_log(
                connection, after=window.read, page_size=page_size, patterns=self._patterns
            )
        if rows[0]["version"] != self._version:
            # Some of these events may be for a subscription that is not known.
            await self.renew()
            return True
        if rows[0]["last_id"] is None:
            return False
        now = self._loop.time()
        for row in rows:
            if row["id"] is None:
                break
            assert row["name"] is not None
            assert row["payload"] is not None
            assert row["created_at"] is not None
            wanting = [
                endpoint
                for endpoint in self.endpoints.values()
                if endpoint.starts_after < row["id"]
                and endpoint.matcher.matches(row["name"], row["subject"])
            ]
            if wanting:
                body = write_body(row["name"], row["payload"], row["created_at"])
                letter = Letter(row["id"], row["name"], body, now, row["traceparent"])
                window.add(letter)
                for endpoint in wanting:
                    self._enqueue(Delivery(endpoint, letter, is_counted=True), now)
        window.read = rows[0]["last_id"]
        return rows[0]["looked_at"] == page_size

    def _enqueue(self, delivery: Delivery, now: float) -> None:
        """Let a new delivery wait in memory, or note it if its receiver fails or is behind."""
        delivery.letter.open += 1
        if delivery.endpoint.takes(now):
            delivery.endpoint.queue.append(delivery)
        else:
            self.aside.append(delivery)

    async def read_due(self) -> None:
        """Read rows that are due, of the subscriptions that have nothing else to do."""
        now, wall = self._loop.time(), datetime.now(UTC)
        wanting = [each for each in self.endpoints.values() if each.wants_due(now, wall)]
        if not wanting:
            return
        most = [BATCH_DUE + len(endpoint.held) for endpoint in wanting]
        async with self._database.connection() as connection:
            rows = await queries.subscriptions.list_due(
                connection, subscription_ids=[each.id for each in wanting], most=most
            )
            ids = {row["event_id"] for row in rows if row["event_id"] is not None}
            events = await find_events(connection, list(ids)) if ids else {}
        for endpoint in wanting:
            endpoint.has_due, endpoint.next_due = False, None
        letters: dict[int, Letter] = {}
        for row in rows:
            endpoint = self.endpoints[row["subscription_id"]]
            if row["id"] in endpoint.held:
                continue
            if row["due_at"] > wall:
                endpoint.next_due = min(row["due_at"], endpoint.next_due or row["due_at"])
                continue
            endpoint.has_due = True
            event_id = row["event_id"]
            if event_id is None:
                letter = write_test(endpoint.id, wall, now)
            elif event_id in letters:
                letter = letters[event_id]
            else:
                letter = Letter(event_id, row["name"], b"", now)
                if event := events.get(event_id):
                    letter.body = write_body(event.name, event.payload, event.created_at)
                    letter.traceparent = event.traceparent
                letters[event_id] = letter
            delivery = Delivery(endpoint, letter, row["id"], row["attempts"])
            endpoint.held.add(row["id"])
            if letter.body:
                endpoint.queue.append(delivery)
            else:
                self.lost.append(delivery)
        for endpoint in wanting:
            endpoint.is_behind = endpoint.is_behind and endpoint.has_due

    async def recover(self) -> None:
        """Note a page of past events for each subscription that asks for them."""
        for endpoint in [*self.endpoints.values()]:
            after, until = endpoint.recover_after, endpoint.recover_until
            since = endpoint.recover_since
            if after is None or until is None or since is None or endpoint.pending >= RECOVERING:
                continue
            page_size = self._settings.dispatch_page_events
            async with self._database.connection() as connection:
                rows = await queries.subscriptions.read_log(
                    connection, after=after, page_size=page_size, patterns=self._patterns
                )
            now = self._loop.time()
            for row in rows:
                if row["id"] is None or row["id"] > until:
                    break
                assert row["name"] is not None
                assert row["created_at"] is not None
                if row["created_at"] >= since and endpoint.matcher.matches(
                    row["name"], row["subject"]
                ):
                    letter = Letter(row["id"], row["name"], b"", now)
                    self.aside.append(Delivery(endpoint, letter))
            last = rows[0]["last_id"]
            is_over = last is None or last >= until or rows[0]["looked_at"] < page_size
            endpoint.recover_after = None if is_over else last
            self.recovered.append((endpoint, until if is_over or last is None else last))


def close(delivery: Delivery) -> None:
    """Note that a delivery is done, or about to be in the database."""
    if delivery.is_counted:
        delivery.is_counted = False
        delivery.letter.open -= 1
