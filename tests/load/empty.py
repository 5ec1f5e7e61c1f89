"""The empty handler: a service with the database taken out.

Middlewares, routing, parsing, validation, answers and the server around them are the service's
own; a lane answers at once with a fixed outcome, and nothing runs in the background. What it
serves is the most that the service could, if PostgreSQL and the batches cost nothing. Settings
are those of the service.
"""

import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from rowlock.accounts.routes import FIND_USER
from rowlock.accounts.rules import Account
from rowlock.benefits.routes import PLACE_ORDER
from rowlock.benefits.rules import Product, Purchase
from rowlock.benefits.transactions import PlacedOrder
from rowlock.engine.lanes import Lane
from rowlock.events.routes import STORE_ONE
from rowlock.events.rules import Counts, Delivered
from rowlock.http.service import Feature
from rowlock.invoices.routes import CREATE_INVOICE, PAY_INVOICE
from rowlock.invoices.rules import Invoice
from rowlock.orders.routes import CREATE_ORDER
from rowlock.orders.rules import CreateOrder, Item
from rowlock.orders.transactions import CreatedOrder
from rowlock.process import logs, server
from rowlock.projects.routes import LIST_PROJECTS, Page
from rowlock.service_orders.routes import CHANGE_ORDER
from rowlock.service_orders.rules import Change, ServiceOrder
from rowlock.service_orders.rules import Service as Inspection
from rowlock.services import SERVICES
from rowlock.settings import Settings

NOW = datetime(2026, 4, 30, 12, 30, 15, 123456, UTC)
PENDING = Invoice(123456, 4242, 11_350, "Work for April", "pending", NOW, None)
PURCHASE = Purchase(
    Account(4242, "load-4242", 99_992_401), (Product(42, "netflix", 7599),), 7599, 99_992_401
)
PROJECT = {
    "id": 4242,
    "name": "Project 4242",
    "url": "https://4242.example.com",
    "created_at": NOW,
    "owner_id": 242,
    "email": "owner-242@example.com",
    "username": "owner-242",
    "is_ongoing": False,
    "is_live": True,
}

# What each lane answers, as its route's handler expects it.
OUTCOMES = {
    FIND_USER: {"id": 4242, "first_name": "Load", "last_name": "4242", "balance": 100_000_000},
    PLACE_ORDER: PlacedOrder(123456, PURCHASE),
    CREATE_INVOICE: PENDING,
    CREATE_ORDER: CreatedOrder(
        123456, 15_198, CreateOrder(4242, (Item(42, 1), Item(43, 1), Item(44, 1))), (1, 2, 3)
    ),
    CHANGE_ORDER: Change(None, ServiceOrder(123456, NOW, 100, (Inspection(123, "Inspection"),))),
    LIST_PROJECTS: Page(10_000, [PROJECT] * 8),
    PAY_INVOICE: replace(PENDING, status="paid", paid_at=NOW),
}


@dataclass(frozen=True, slots=True)
class CannedLane:
    """Stands in for a batch."""

    outcome: Any

    async def submit(self, _: Any) -> Any:
        return self.outcome


class Emptied:
    """A feature with a canned lane in the place of each of its own."""

    def __init__(self, feature: Feature) -> None:
        self._feature = feature

    def __getattr__(self, name: str) -> Any:
        return getattr(self._feature, name)

    def state(self, database: Any, settings: Settings) -> dict[Any, Any]:
        return {
            key: CANNED.get(key, CannedLane)(OUTCOMES.get(key))
            if isinstance(value, Lane)
            else value
            for key, value in self._feature.state(database, settings).items()
        }


class CannedDelivery(CannedLane):
    """Stands in for the intake of events: every event is new."""

    async def submit(self, events: Any) -> Any:
        return Delivered(Counts(1, 0), {events[0].event_id: 123456})


def main() -> None:
    settings = Settings.from_environment()
    logs.configure(settings)
    full = SERVICES[sys.argv[1] if len(sys.argv) > 1 else "commerce"]
    features: tuple[Any, ...] = tuple(map(Emptied, full.features))
    service = replace(full, features=features, tasks={})
    # The pool connects on first use, and nothing uses it: there need be no database.
    urls = {service.database: "postgresql:///none"}
    [sockets] = server.listen([service], settings)
    server.run([service], settings, urls, sockets, lambda: None)


CANNED = {STORE_ONE: CannedDelivery}


if __name__ == "__main__":
    main()
