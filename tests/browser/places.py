"""All pages of the console and the shop, which test_places holds to the same. Add yours here."""

from typing import NamedTuple


class Place(NamedTuple):
    """A page."""

    path: str
    heading: str  # its h1
    status: int = 200


CONSOLE = (
    Place("/", "Overview"),
    Place("/?last=1+h", "Overview"),
    Place("/orders", "Orders"),
    Place("/orders?status=cancelled", "Orders"),
    Place("/orders?user=x", "Orders", 400),
    Place("/orders/1", "Order 1"),
    Place("/orders/1/refund", "Refund order 1?"),
    Place("/orders/2/cancel", "Cancel order 2?"),
    Place("/users", "Users"),
    Place("/users/1", "ada"),
    Place("/users/new", "New user"),
    Place("/invoices", "Invoices"),
    Place("/invoices?user=x", "Invoices", 400),
    Place("/bookings", "Bookings"),
    Place("/deployments", "Deployments"),
    Place("/deployments?status=x", "Deployments", 400),
    Place("/events", "Events"),
    Place("/dead-letters", "Dead letters"),
    Place("/deliveries", "Deliveries"),
    Place("/statements", "Statements"),
    Place("/statements/activity", "Locks and transactions"),
    Place("/health", "Health"),
    Place("/health/settings", "Settings"),
    Place("/orders/99", "There is no order 99.", 404),
)
SHOP = (
    Place("/shop", "Benefits"),
    Place("/shop/receipts", "Receipts"),
    Place("/shop/receipts/3", "Receipt 3"),
    Place("/shop/statement", "Statement"),
    Place("/shop/receipts/99", "There is no order 99.", 404),
)
# Without a session.
ENTRANCES = (Place("/sign-in", "Rowlock console"),)
