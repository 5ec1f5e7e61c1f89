"""The services: what each one serves, where, from which database, and to whom."""

from operator import attrgetter
from types import MappingProxyType

from rowlock.accounts import routes as accounts
from rowlock.benefits import routes as benefits
from rowlock.events import feed
from rowlock.events import routes as events
from rowlock.invoices import routes as invoices
from rowlock.orders import routes as orders
from rowlock.projects import routes as projects
from rowlock.queries import queries
from rowlock.service_orders import routes as service_orders
from rowlock.tasks import event_relay, housekeeping, order_processor
from rowlock.web.service import Service

COMMERCE = Service(
    name="commerce",
    database="main",
    features=(benefits, orders, accounts, invoices, service_orders),
    port=attrgetter("commerce_port"),
    token=attrgetter("commerce_token"),
    body_bytes=attrgetter("body_bytes"),
    tasks=MappingProxyType(
        {
            "order_processor": order_processor.run,
            "event_relay": event_relay.run,
            "outbox_purge": housekeeping.purge_outbox,
            "idempotency_purge": housekeeping.purge_answers,
        }
    ),
    examples=(
        "/api/users/johndoe",
        "/user/1",
        "/invoices/1",
        "/orders?limit=3",
        "/service-orders/223",
    ),
    backlog=queries.metrics.measure_commerce,
)

EVENTS = Service(
    name="events",
    database="events",
    features=(events,),
    port=attrgetter("events_port"),
    token=attrgetter("events_token"),
    body_bytes=attrgetter("events_body_bytes"),
    tasks=MappingProxyType(
        {
            "event_feed": feed.follow,
            "events_partitions": housekeeping.keep_partitions,
            "events_purge": housekeeping.purge_strays,
            "event_keys_purge": housekeeping.purge_keys,
        }
    ),
    examples=("/events?limit=3", "/events/1"),
    takes_keys=False,  # events have ids of their own for that
)

PROJECTS = Service(
    name="projects",
    database="main",
    features=(projects,),
    port=attrgetter("projects_port"),
    token=attrgetter("projects_token"),
    body_bytes=attrgetter("body_bytes"),
    tasks=MappingProxyType(
        {
            "webhook_purge": housekeeping.purge_webhook_messages,
            "idempotency_purge": housekeeping.purge_answers,
        }
    ),
    examples=("/projects", "/deployments", "/users/1/deployment-stats"),
    takes_jwts=True,
    webhooks=frozenset({projects.WEBHOOK_PATH}),
)

SERVICES = {service.name: service for service in (COMMERCE, PROJECTS, EVENTS)}
