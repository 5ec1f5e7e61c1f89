"""The services: what each one serves, where, from which database, and to whom."""

from collections.abc import Mapping, Sequence

from rowlock.accounts import Accounts
from rowlock.accounts.routes import AccountRoutes
from rowlock.benefits import Benefits
from rowlock.benefits.routes import BenefitRoutes
from rowlock.delivery.relay import Relay
from rowlock.delivery.retention import purge_dead_letters, purge_outbox
from rowlock.engine import leases, outbox
from rowlock.engine.database import Connection, Database
from rowlock.engine.lanes import Feature
from rowlock.engine.retention import purge_answers
from rowlock.engine.statements import queries
from rowlock.engine.tasks import Task
from rowlock.engine.wakes import Wakes
from rowlock.events import Events
from rowlock.events.retention import Partitions, purge_keys, purge_strays
from rowlock.events.routes import EventRoutes
from rowlock.events.stream import STORED
from rowlock.events.transactions import append as append_here
from rowlock.http.metrics import Labelled, State
from rowlock.http.routes import Routes
from rowlock.http.service import Context, Parts, Service
from rowlock.invoices import Invoices
from rowlock.invoices.routes import InvoiceRoutes
from rowlock.keys import Keys
from rowlock.keys.routes import KeyRoutes
from rowlock.orders import CHANNEL, Orders
from rowlock.orders.processor import Processor
from rowlock.orders.routes import OrderRoutes
from rowlock.projects import Projects
from rowlock.projects.feed import Feed
from rowlock.projects.processor import time_out_deployments
from rowlock.projects.retention import purge_webhook_messages
from rowlock.projects.routes import ProjectRoutes
from rowlock.service_orders import ServiceOrders
from rowlock.service_orders.routes import ServiceOrderRoutes
from rowlock.settings.groups import BatchSettings
from rowlock.settings.names import DatabaseName, ServiceName

ROUTES: Mapping[ServiceName, tuple[type[Routes], ...]] = {
    ServiceName.COMMERCE: (
        BenefitRoutes,
        OrderRoutes,
        AccountRoutes,
        InvoiceRoutes,
        ServiceOrderRoutes,
        KeyRoutes,
    ),
    ServiceName.PROJECTS: (ProjectRoutes, KeyRoutes),
    ServiceName.EVENTS: (EventRoutes, KeyRoutes),
}
# What a key of each service can be good for.
SCOPES = {
    name: frozenset().union(*(routes.scopes() for routes in kinds))
    for name, kinds in ROUTES.items()
}


def open_keys(service: ServiceName, database: Database, batches: BatchSettings) -> Keys:
    """Return the API keys of a service, whose database this is."""
    # The events database has no outbox: it has the log itself.
    append = append_here if service == ServiceName.EVENTS else outbox.append
    return Keys(database, batches, service, append)


def _build_commerce(context: Context) -> Parts:
    database, settings, meter = context.database, context.settings, context.meter
    accounts = Accounts(database, settings.batches)
    benefits = Benefits(database, settings.batches, settings.benefits, accounts)
    wakes = Wakes(database, settings.tasks.processor_notify_s)
    orders = Orders(database, settings.batches, settings.orders, wakes.on(CHANNEL))
    invoices = Invoices(database, settings.batches)
    service_orders = ServiceOrders(database, settings.batches)
    keys = open_keys(ServiceName.COMMERCE, database, settings.batches)

    async def measure(connection: Connection, counted: int) -> State:
        pending = orders.pending
        [row] = await queries.metrics.measure_commerce(
            connection, counted=counted, floor=pending.floor, left_ids=list(pending.left)
        )
        return {
            "orders_pending": row["orders_pending"],
            "orders_age_s": row["orders_age_s"],
            **await _measure_outbox(connection, counted),
        }

    features = (benefits, orders, accounts, invoices, service_orders, keys)
    return Parts(
        features=features,
        routes=(
            BenefitRoutes(benefits),
            OrderRoutes(orders),
            AccountRoutes(accounts),
            InvoiceRoutes(invoices),
            ServiceOrderRoutes(service_orders),
            KeyRoutes(keys, SCOPES[ServiceName.COMMERCE]),
        ),
        tasks=(
            Processor(orders, meter, log_settlements=settings.logs.log_requests).task,
            *_deliver(context, wakes, features),
            purge_answers(database, settings),
        ),
        keyring=keys.ring,
        backlog=measure,
    )


def _deliver(context: Context, wakes: Wakes, features: Sequence[Feature]) -> tuple[Task, ...]:
    """Return what delivers the events of a service that writes to the main database.

    Any of these services may be the only one that runs. The lease of the relay decides which of
    them delivers, so the commits of each wake the relays of all.
    """
    database, settings = context.database, context.settings
    appended = wakes.on(outbox.CHANNEL)
    for feature in features:
        feature.committed.leads_to(appended)
    return (
        Relay(database, settings, context.meter, appended).task,
        wakes.task,
        purge_outbox(database, settings),
        purge_dead_letters(database, settings),
    )


def _build_projects(context: Context) -> Parts:
    database, settings = context.database, context.settings
    projects = Projects(database, settings.batches, settings.projects)
    keys = open_keys(ServiceName.PROJECTS, database, settings.batches)
    wakes = Wakes(database, settings.tasks.processor_notify_s)
    feed = Feed(context.outbound, settings.addresses, settings.projects)
    return Parts(
        features=(projects, keys),
        routes=(ProjectRoutes(projects, feed), KeyRoutes(keys, SCOPES[ServiceName.PROJECTS])),
        tasks=(
            *_deliver(context, wakes, (projects, keys)),
            time_out_deployments(projects, settings.leases),
            purge_webhook_messages(projects, settings.tasks),
            purge_answers(database, settings),
        ),
        keyring=keys.ring,
        backlog=_measure_outbox,
    )


def _build_events(context: Context) -> Parts:
    database, settings = context.database, context.settings
    wakes = Wakes(database, settings.tasks.processor_notify_s)
    stored = wakes.on(STORED)
    events = Events(database, settings.batches, settings.events, stored)
    keys = open_keys(ServiceName.EVENTS, database, settings.batches)
    keys.committed.leads_to(stored)
    log_each = settings.logs.log_level == "debug"
    return Parts(
        features=(events, keys),
        routes=(
            EventRoutes(events, context.meter, context.draining, log_each=log_each),
            KeyRoutes(keys, SCOPES[ServiceName.EVENTS]),
        ),
        tasks=(
            events.stream.task,
            wakes.task,
            Partitions(events).task,
            purge_strays(events, settings.tasks),
            purge_keys(events, settings.tasks),
        ),
        keyring=keys.ring,
    )


async def _measure_outbox(connection: Connection, counted: int) -> State:
    row = await outbox.measure_backlog(connection, counted)
    state: dict[str, float | Labelled] = {
        "outbox_events": row["outbox_events"],
        "outbox_age_s": row["outbox_age_s"],
        "dead_letters": row["dead_letters"],
    }
    leader = await leases.find_leader(connection, outbox.LEASE)
    if leader is not None and leader["is_held"]:
        labels = {"holder": leader["holder"], "epoch": str(leader["epoch"])}
        state["relay_leader"] = Labelled(leader["since"].timestamp(), labels)
    return state


COMMERCE = Service(
    name=ServiceName.COMMERCE,
    database=DatabaseName.MAIN,
    build=_build_commerce,
    port=lambda settings: settings.addresses.commerce_port,
    public_url=lambda settings: settings.addresses.public_commerce_url,
    token=lambda settings: settings.addresses.commerce_token,
    body_bytes=lambda settings: settings.http.body_bytes,
    bodies_bytes=lambda settings: settings.http.bodies_bytes,
    client_rate=lambda settings: settings.http.client_rate,
    examples=(
        "/api/users/johndoe",
        "/user/1",
        "/invoices/1",
        "/orders?limit=3",
        "/service-orders/223",
    ),
)

PROJECTS = Service(
    name=ServiceName.PROJECTS,
    database=DatabaseName.MAIN,
    build=_build_projects,
    port=lambda settings: settings.addresses.projects_port,
    public_url=lambda settings: settings.addresses.public_projects_url,
    token=lambda settings: settings.addresses.projects_token,
    body_bytes=lambda settings: settings.http.body_bytes,
    bodies_bytes=lambda settings: settings.http.bodies_bytes,
    client_rate=lambda settings: settings.http.client_rate,
    examples=("/projects", "/deployments", "/users/1/deployment-stats"),
    takes_jwts=True,
)

EVENTS = Service(
    name=ServiceName.EVENTS,
    database=DatabaseName.EVENTS,
    build=_build_events,
    port=lambda settings: settings.addresses.events_port,
    public_url=lambda settings: settings.addresses.public_events_url,
    token=lambda settings: settings.addresses.events_token,
    body_bytes=lambda settings: settings.http.events_body_bytes,
    bodies_bytes=lambda settings: settings.http.events_bodies_bytes,
    client_rate=lambda _: 0,  # its clients are servers: events must not wait for a relay's rate
    examples=("/events?limit=3", "/events/1"),
    takes_keys=False,  # an event's own id makes sure that it is stored once
    for_pages=False,  # its clients are servers
)

SERVICES = {service.name: service for service in (COMMERCE, PROJECTS, EVENTS)}
