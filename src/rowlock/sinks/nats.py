"""The sink that publishes the log of events to NATS JetStream, in order and each event once.

One process does it, under a lease. It goes on after the last message of the stream, which names its
place in the log. A consumer of the name `nats` keeps the place, too: for when that message is gone,
and for what tells how far behind the sink is.
"""

import asyncio
import random
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import structlog

from rowlock.consumers import Consumers
from rowlock.consumers.rules import Acknowledge, PutConsumer
from rowlock.engine import leases
from rowlock.engine.metrics import Meter, counter, gauge
from rowlock.engine.tasks import Task
from rowlock.errors import NatsUnavailable, StreamMisfits
from rowlock.events.rules import Unknown, Wanted
from rowlock.events.stream import Reader, Stream
from rowlock.rejections import Rejection
from rowlock.settings.features import NatsSettings
from rowlock.settings.groups import LeaseSettings
from rowlock.sinks import jetstream
from rowlock.sinks.publisher import Publisher

LEASE = "nats"
CONSUMER = "nats"
KEEP_S = 1.0  # pause between two acknowledgements of the consumer
STEADY_S = 10.0  # a connection that lasts so long ends a row of failures

UP = gauge("rowlock_nats_up", "1 if this process publishes events to NATS and reaches it, else 0.")
PUBLISHED = counter("rowlock_nats_published_total", "Events that NATS has acknowledged.")
FAILURES = counter(
    "rowlock_nats_failures_total", "Connections to NATS that failed, or could not be made."
)

logger = structlog.get_logger(__name__)


class NatsSink:
    """Publishes the events of a log."""

    def __init__(
        self,
        consumers: Consumers,
        stream: Stream,
        settings: NatsSettings,
        lease: LeaseSettings,
        meter: Meter,
    ) -> None:
        """Make the sink. Raises StartRefused if the extra `nats` is missing."""
        jetstream.check_installed()
        self.task = Task("nats_sink", self.run)
        self._consumers = consumers
        self._stream = stream
        self._settings = settings
        self._lease = lease
        self._meter = meter
        self._up = UP.labels(meter.service)

    async def run(self) -> None:
        """Publish while this process has the lease."""
        await leases.lead(LEASE, self._consumers.database, self._lead, self._lease)

    async def _lead(self, _epoch: int) -> None:
        """Publish on one connection after another; tell once that NATS is away, or back.

        Raises what fails but NATS, such as Unavailable.
        """
        loop = asyncio.get_running_loop()
        pause_s = self._settings.nats_retry_s
        told: type[Exception] | None = None  # what keeps it from publishing, as the log says
        while True:
            started = loop.time()
            try:
                async with jetstream.connected(self._settings) as client:
                    publisher = await self._begin(client)
                    if told is not None:
                        logger.info("nats_back", position=publisher.position)
                        told = None
                    self._up.set(1)
                    await self._publish(publisher)
            except (NatsUnavailable, StreamMisfits) as error:
                self._meter.count(FAILURES)
                if type(error) is not told:
                    logger.warning("nats_away", error=error.message)
                    told = type(error)
            finally:
                self._up.set(0)
            if loop.time() - started > STEADY_S:
                pause_s = self._settings.nats_retry_s
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311
            pause_s = min(pause_s * 2, self._settings.nats_retry_limit_s)

    async def _begin(self, client: Any) -> Publisher:
        """Return a publisher that goes on where the stream ends."""
        log = await self._consumers.find_log()
        kept = await self._find_kept()
        info = await jetstream.open_stream(client, self._settings)
        place = await jetstream.find_place(client, info, self._settings.nats_timeout_s)
        if place.log not in {None, log}:
            raise StreamMisfits(
                f"The stream {jetstream.STREAM} of NATS has the events of another log, {place.log}."
            )
        position = kept if place.position is None else place.position
        if position < kept:  # as of a new stream: what its lag says would be wrong
            await self._put(position)
        publisher = Publisher(
            client, self._settings, log, last_seq=place.last_seq, position=position
        )
        await publisher.start()
        return publisher

    async def _find_kept(self) -> int:
        """Return the position of the sink's consumer, which is made if it is missing."""
        position = await self._consumers.find_position.submit(CONSUMER)
        if position is None:
            position = 0
            await self._put(position)
        return position

    async def _put(self, position: int) -> None:
        placed = await self._consumers.put.submit(PutConsumer(CONSUMER, position))
        if isinstance(placed, Rejection):
            raise placed

    async def _publish(self, publisher: Publisher) -> None:
        """Publish until something fails; raise that."""
        await _until_one_ends(self._feed(publisher), publisher.watch(), self._keep_place(publisher))

    async def _feed(self, publisher: Publisher) -> None:
        """Publish events as they are stored."""
        reader = Reader(self._stream, publisher.position, Wanted())
        with self._stream.listening():
            while True:
                more = self._stream.tail.changed
                events = await reader.read_on()
                if isinstance(events, Unknown):
                    # The stream has events that the log has lost. Those after them follow.
                    logger.warning("nats_position_unknown", **events._asdict())
                    continue
                for event in events:
                    await publisher.publish(event)
                if not events:
                    await more.wait()

    async def _keep_place(self, publisher: Publisher) -> None:
        """Acknowledge to the consumer what the stream has."""
        kept, counted = publisher.position, 0
        try:
            while True:
                await asyncio.sleep(KEEP_S)
                self._meter.count(PUBLISHED, publisher.acknowledged - counted)
                counted = publisher.acknowledged
                if publisher.position > kept:
                    kept = publisher.position
                    await self._consumers.acknowledge.submit(Acknowledge(CONSUMER, kept))
        finally:
            self._meter.count(PUBLISHED, publisher.acknowledged - counted)


async def _until_one_ends(*works: Coroutine[Any, Any, None]) -> None:
    """Run all until one of them ends, and the others no longer; raise what that one raises."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait(tasks)
    for task in done:
        task.result()
