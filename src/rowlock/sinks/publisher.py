"""Publishing events in a row, many at a time, each of them once.

Each message says which sequence number the last one before it must have. So the stream takes
messages only in the order of the log and without a gap, whatever is lost, and however many
processes believe that they lead: one that is behind is refused.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import orjson

from rowlock.errors import NatsUnavailable
from rowlock.events.bodies import show
from rowlock.events.rules import StoredEvent
from rowlock.origin import TRACEPARENT
from rowlock.settings.features import NatsSettings
from rowlock.sinks.jetstream import LOG, POSITION, STREAM, subject_of

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

TURN = 128  # messages handed over in a row before others get a turn
CHECKS = 8  # how often silence is looked for, in the time that makes one


class Publisher:
    """Publishes on one connection, after the message `last_seq` of the stream."""

    def __init__(
        self, client: "Client", settings: NatsSettings, log: str, *, last_seq: int, position: int
    ) -> None:
        self.position = position  # of the last event that the stream has for certain
        self.acknowledged = 0  # messages
        self._client = client
        self._settings = settings
        self._log = log
        self._next = last_seq + 1
        self._pending: deque[tuple[int, int]] = deque()  # sequence numbers and positions
        self._early: set[int] = set()  # sequence numbers acknowledged before those before them
        self._room = asyncio.Event()
        self._room.set()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._heard = asyncio.get_running_loop().time()
        self._inbox = client.new_inbox()
        self._subjects: dict[str, str] = {}  # by names of events, which are few

    async def start(self) -> None:
        """Begin to listen for acknowledgements."""
        await self._client.subscribe(
            f"{self._inbox}.*", cb=self._hear, pending_msgs_limit=0, pending_bytes_limit=0
        )

    async def publish(self, event: StoredEvent) -> None:
        """Hand an event over; wait while too many are under way. Raises NATS' errors."""
        if not self._room.is_set():
            await self._room.wait()
        sequence, self._next = self._next, self._next + 1
        if not self._pending:
            self._heard = asyncio.get_running_loop().time()
        self._pending.append((sequence, event.id))
        if len(self._pending) >= self._settings.nats_in_flight:
            self._room.clear()
        subject = self._subjects.get(event.name)
        if subject is None:
            if len(self._subjects) >= self._settings.nats_in_flight:
                self._subjects.clear()
            subject = self._subjects[event.name] = subject_of(event.name)
        headers = {
            "Nats-Msg-Id": str(event.event_id),
            "Nats-Expected-Stream": STREAM,
            "Nats-Expected-Last-Sequence": str(sequence - 1),
            POSITION: str(event.id),
            LOG: self._log,
        }
        if event.traceparent is not None:
            headers[TRACEPARENT] = event.traceparent
        await self._client.publish(
            subject,
            orjson.dumps(show(event), option=orjson.OPT_UTC_Z),
            reply=f"{self._inbox}.{sequence}",
            headers=headers,
        )
        if not sequence % TURN:
            await asyncio.sleep(0)

    async def watch(self) -> None:
        """Raise NatsUnavailable once a message is refused, or none is acknowledged for too long."""
        timeout_s = self._settings.nats_timeout_s
        while True:
            done, _ = await asyncio.wait([self._failed], timeout=timeout_s / CHECKS)
            if done:
                self._failed.result()
            if self._client.is_closed:
                raise NatsUnavailable("NATS has closed the connection.")
            silent_s = asyncio.get_running_loop().time() - self._heard
            if self._pending and silent_s > timeout_s:
                raise NatsUnavailable("NATS does not acknowledge what is published.")

    async def _hear(self, message: "Msg") -> None:
        """Take an acknowledgement, or a refusal."""
        sequence = int(message.subject.rpartition(".")[2])
        try:
            answer = orjson.loads(message.data) if message.data else {}
        except orjson.JSONDecodeError:
            answer = {}
        if answer.get("seq") != sequence:
            self._fail(answer)
            return
        self._heard = asyncio.get_running_loop().time()
        self.acknowledged += 1
        if self._pending and self._pending[0][0] == sequence:
            self.position = self._pending.popleft()[1]
            while self._early and self._pending and self._pending[0][0] in self._early:
                early, self.position = self._pending.popleft()
                self._early.discard(early)
        else:
            self._early.add(sequence)
        if len(self._pending) < self._settings.nats_in_flight:
            self._room.set()

    def _fail(self, answer: dict[str, object]) -> None:
        if not self._failed.done():
            error = answer.get("error")
            told = error.get("description") if isinstance(error, dict) else None
            problem = told or "no stream takes it"
            self._failed.set_exception(NatsUnavailable(f"NATS refuses a message: {problem}."))
