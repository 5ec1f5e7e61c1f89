"""The empty handler: a service with the database taken out.

Middlewares, routing, parsing, validation, answers and the server around them are the service's
own; a lane answers at once with a fixed outcome, and nothing runs in the background. What it
serves is the most that the service could, if PostgreSQL and the batches cost nothing. Settings
are those of the service.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from rowlock.accounts import Accounts
from rowlock.accounts.rules import Account, User
from rowlock.benefits import Benefits
from rowlock.benefits.rules import PlacedOrder, Product, Purchase
from rowlock.engine.lanes import Feature
from rowlock.events import Events
from rowlock.events.rules import Counts, Delivered, Delivery
from rowlock.http.service import Context, Parts, Service
from rowlock.invoices import Invoices
from rowlock.invoices.rules import Invoice
from rowlock.orders import Orders
from rowlock.orders.rules import Order, OrderItem
from rowlock.process import listeners, logs, server
from rowlock.projects import Projects
from rowlock.projects.rules import ListedProject, Page
from rowlock.refunds import Refunds
from rowlock.refunds.rules import Refund
from rowlock.service_orders import ServiceOrders
from rowlock.service_orders.rules import Change, ServiceOrder
from rowlock.service_orders.rules import Service as Inspection
from rowlock.services import SERVICES
from rowlock.settings import Settings
from rowlock.settings.names import ServiceName
from rowlock.transfers import Transfers
from rowlock.transfers.rules import Transfer

# The pool connects on first use, and nothing uses it: there need be no database.
NO_DATABASE = "postgresql:///none"

NOW = datetime(2026, 4, 30, 12, 30, 15, 123456, UTC)
PENDING = Invoice(123456, 4242, 11_350, "Work for April", "pending", NOW, None)
PURCHASE = Purchase(
    Account(4242, "load-4242", 99_992_401), (Product(42, "netflix", 7599),), 7599, 99_992_401
)
TRANSFER = Transfer(123456, 4242, 4243, 2_500, "Lunch", None, None, NOW)
CREATED = Order(
    123456, "pending", 15_198, [OrderItem(n, 41 + n, 1, 5_066) for n in (1, 2, 3)], 4242, NOW
)
PROJECT = ListedProject(
    id=4242,
    name="Project 4242",
    url="https://4242.example.com",
    created_at=NOW,
    owner_id=242,
    email="owner-242@example.com",
    username="owner-242",
    is_ongoing=False,
    is_live=True,
)


@dataclass(frozen=True, slots=True)
class CannedLane:
    """Stands in for a lane: answers at once."""

    outcome: Any

    async def submit(self, _: Any) -> Any:
        return self.outcome


class CannedIntake:
    """Stands in for the intake of events: every event is new."""

    async def submit(self, delivery: Delivery) -> Delivered:
        return Delivered(Counts(1, 0), {delivery.events[0].event_id: 123456}, ())


# What stands in for lanes that are measured: by feature, and by their names there.
CANNED: Mapping[type[Feature], Mapping[str, Any]] = {
    Accounts: {"find": CannedLane(User(4242, "Load", "4242", 100_000_000))},
    Benefits: {"place_order": CannedLane(PlacedOrder(123456, NOW, PURCHASE))},
    Invoices: {
        "create": CannedLane(PENDING),
        "pay": CannedLane(replace(PENDING, status="paid", paid_at=NOW)),
    },
    Orders: {"create": CannedLane(CREATED)},
    ServiceOrders: {
        "change": CannedLane(
            Change(None, ServiceOrder(123456, NOW, 100, (Inspection(123, "Inspection"),)))
        )
    },
    Projects: {"list_page": CannedLane(Page(10_000, [PROJECT] * 8))},
    Transfers: {"make": CannedLane(TRANSFER)},
    Refunds: {"make": CannedLane(Refund(123456, 4242, 7599, NOW, None, None))},
    Events: {"store_one": CannedIntake()},
}


def emptied(full: Service) -> Service:
    """Return the service with the database taken out."""

    def build(context: Context) -> Parts:
        parts = full.build(context)
        for feature in parts.features:
            for name, lane in CANNED.get(type(feature), {}).items():
                assert hasattr(feature, name)
                setattr(feature, name, lane)
        return parts._replace(tasks=())

    return replace(full, build=build)


def main() -> None:
    settings = Settings.from_environment()
    logs.configure(settings)
    service = emptied(SERVICES[ServiceName(sys.argv[1] if len(sys.argv) > 1 else "commerce")])
    urls: dict[str, str] = {service.database: NO_DATABASE}
    [sockets] = listeners.listen([service], settings)
    server.run([service], settings, urls, sockets, lambda: None)


if __name__ == "__main__":
    main()
