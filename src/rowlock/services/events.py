"""Events: the log of what has happened, and all ways that events go on."""

from rowlock.consumers import Consumers
from rowlock.consumers.reads import list_all
from rowlock.consumers.routes import ConsumerRoutes
from rowlock.engine.database import Connection
from rowlock.engine.retention import purge_answers
from rowlock.engine.statements import queries
from rowlock.engine.wakes import Wake, Wakes
from rowlock.events import Events
from rowlock.events.retention import Partitions, purge_keys, purge_strays
from rowlock.events.routes import EventRoutes
from rowlock.events.schema_routes import SchemaRoutes
from rowlock.events.stream import STORED
from rowlock.events.stream_routes import StreamRoutes
from rowlock.events.transactions import append as append_here
from rowlock.http.metrics import Labelled, State
from rowlock.http.routes import Routes
from rowlock.http.service import Context, Parts, Service
from rowlock.keys.routes import KeyRoutes
from rowlock.pages.trying import open_plain
from rowlock.services.event_types import EVENT_TYPES
from rowlock.services.parts import open_keys, open_subscriptions
from rowlock.settings.names import DatabaseName, ServiceName
from rowlock.sinks.nats import NatsSink
from rowlock.subscriptions import CHANGED
from rowlock.subscriptions.dispatcher import Dispatcher, Signals
from rowlock.subscriptions.retention import purge_delivered, purge_failed
from rowlock.subscriptions.routes import SubscriptionRoutes

ROUTES: tuple[type[Routes], ...] = (
    EventRoutes,
    StreamRoutes,
    SchemaRoutes,
    ConsumerRoutes,
    SubscriptionRoutes,
    KeyRoutes,
)
# What a key can be good for here.
SCOPES = frozenset[str]().union(*(routes.scopes() for routes in ROUTES))


def _build(context: Context) -> Parts:
    database, settings = context.database, context.settings
    wakes = Wakes(database, settings.tasks.processor_notify_s)
    stored = wakes.on(STORED)
    events = Events(database, settings.batches, settings.events, stored)
    keys = open_keys(ServiceName.EVENTS, database, settings.batches)
    keys.committed.leads_to(stored)
    subscriptions = open_subscriptions(database, settings)
    work, changed = Wake(), wakes.on(CHANGED)
    stored.leads_to(work)
    changed.leads_to(work)
    subscriptions.committed.leads_to(stored)
    subscriptions.committed.leads_to(changed)
    consumers = Consumers(database, settings.batches, settings.consumers, events)
    consumers.put.committed.leads_to(stored)
    consumers.delete.committed.leads_to(stored)
    sinks = []
    if settings.nats.nats_url is not None:
        sink = NatsSink(consumers, events.stream, settings.nats, settings.leases, context.meter)
        sinks.append(sink.task)
    log_each = settings.logs.log_level == "debug"
    return Parts(
        features=(events, consumers, subscriptions, keys),
        routes=(
            EventRoutes(events, log_each=log_each),
            StreamRoutes(events, context.meter, context.draining),
            SchemaRoutes(EVENT_TYPES),
            SubscriptionRoutes(subscriptions, https_only=settings.env == "production"),
            ConsumerRoutes(consumers, context.draining),
            KeyRoutes(keys, SCOPES),
        ),
        tasks=(
            events.stream.task,
            wakes.task,
            Partitions(events).task,
            purge_strays(events, settings.tasks),
            purge_keys(events, settings.tasks),
            Dispatcher(database, settings, context.meter, append_here, Signals(work, changed)).task,
            purge_failed(subscriptions, settings.tasks),
            purge_delivered(subscriptions, settings.tasks),
            purge_answers(database, settings),
            *sinks,
        ),
        keyring=keys.ring,
        backlog=_measure,
        site=open_plain(settings),
    )


async def _measure(connection: Connection, counted: int) -> State:
    [row] = await queries.subscriptions.measure(connection, counted=counted)
    consumers = await list_all(connection)
    labels = [{"consumer": consumer.name} for consumer in consumers]
    return {
        "consumer_lag_events": [
            Labelled(consumer.lag_events, of)
            for consumer, of in zip(consumers, labels, strict=True)
        ],
        "consumer_lag_s": [
            Labelled(consumer.lag_s, of) for consumer, of in zip(consumers, labels, strict=True)
        ],
        "subscriptions_active": row["active"],
        "subscriptions_failing": row["failing"],
        "subscriptions_disabled": row["disabled"],
        "webhooks_pending": row["pending"],
        "webhooks_lag": row["lag"],
    }


EVENTS = Service(
    name=ServiceName.EVENTS,
    database=DatabaseName.EVENTS,
    build=_build,
    port=lambda settings: settings.addresses.events_port,
    public_url=lambda settings: settings.addresses.public_events_url,
    token=lambda settings: settings.addresses.events_token,
    body_bytes=lambda settings: settings.http.events_body_bytes,
    bodies_bytes=lambda settings: settings.http.events_bodies_bytes,
    client_rate=lambda _: 0,  # its clients are servers: events must not wait for a relay's rate
    examples=("/events?limit=3", "/events/1"),
    for_pages=False,  # its clients are servers
)
