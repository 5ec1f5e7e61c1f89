"""Demo data, and users for load tests."""

from collections.abc import Callable
from datetime import UTC, datetime

from rowlock.accounts import names
from rowlock.accounts.rules import CreateUser
from rowlock.accounts.transactions import create_users
from rowlock.engine.database import Connection, Database
from rowlock.engine.statements import queries
from rowlock.invoices.rules import CreateInvoice, Invoice, PayInvoice
from rowlock.invoices.transactions import create_invoices, pay_invoices
from rowlock.ops import demo_projects as projects_demo
from rowlock.origin import CLI
from rowlock.service_orders.rules import Service, ServiceOrder
from rowlock.service_orders.transactions import import_orders

PRODUCTS = (  # slug, name, price in minor units
    ("netflix", "Netflix", 7599),
    ("spotify", "Spotify", 4599),
    ("amazon-prime", "Amazon Prime", 1499),
    ("disney-plus", "Disney+", 1099),
    ("apple-music", "Apple Music", 999),
    ("youtube-premium", "YouTube Premium", 1399),
    ("audible", "Audible", 1495),
    ("gym", "City Gym", 4900),
    ("lunch", "Lunch Vouchers", 12000),
    ("bike", "Bike Lease", 6250),
    ("laptop", "Laptop", 129900),  # more than the opening balance
)

USERS = (  # username, email, first name, last name, opening balance in minor units
    ("ada", "ada@example.com", "Ada", "Lovelace", 241_817),
    ("grace", "grace@example.com", "Grace", "Hopper", 180_000),
    ("edsger", "edsger@example.com", "Edsger", "Dijkstra", 95_050),
    ("barbara", "barbara@example.com", "Barbara", "Liskov", 50_000),
)

INVOICES = (  # username, amount in minor units, label, paid
    ("ada", 11_350, "Work for April", False),
    ("ada", 20_000, "Work for March", True),
    ("grace", 64_000, "Compiler review", False),
    ("edsger", 7_500, "Lecture", True),
)

SERVICES = (Service(123, "Inspection"), Service(789, "Testing"), Service(456, "Analysis"))

SERVICE_ORDERS = tuple(  # all at once: such orders can only be imported
    ServiceOrder(
        order_id, datetime(2022, 11, 1, 11, 11, 11, 111_000, UTC), 100, (service,), imported=True
    )
    for order_id, service in zip((223, 224, 225), SERVICES, strict=True)
)

LOAD_USER_BALANCE = 1_000_000_00
CHUNK_USERS = 20_000


async def has_data(database: Database) -> bool:
    """Tell whether there is anything but users for load tests."""
    async with database.connection() as connection:
        [row] = await queries.seed.has_data(connection)
    return row["found"]


async def has_demo_data(database: Database) -> bool:
    """Tell whether there are users of the demo data, by their addresses."""
    emails = [email for _, email, _, _, _ in USERS]
    async with database.connection() as connection:
        found = await queries.accounts.find_key_owners(
            connection, name_keys=[], email_keys=[names.key(email) for email in emails]
        )
    return bool(found)


async def demo(database: Database) -> None:
    """Load the demo data in one transaction. Existing rows stay as they are."""
    async with database.transaction() as connection:
        slugs, names, prices = zip(*PRODUCTS, strict=True)
        await queries.seed.add_products(connection, slugs=slugs, names=names, prices=prices)
        user_ids = await _demo_users(connection)
        await _demo_invoices(connection, user_ids)
        await _demo_service_orders(connection)
        await projects_demo.load(connection)


async def _demo_users(connection: Connection) -> dict[str, int]:
    """Create the demo users that are missing; return the ids of the new ones by username."""
    created = []
    for user in USERS:  # one by one, so that their ids follow the table above
        [is_new] = await create_users(connection, [CreateUser(user[0], user[4], CLI)])
        if is_new:
            created.append(user)
    if not created:
        return {}
    usernames, emails, first_names, last_names, _ = zip(*created, strict=True)
    rows = await queries.seed.describe_users(
        connection,
        usernames=usernames,
        emails=emails,
        email_keys=[names.key(email) for email in emails],
        first_names=first_names,
        last_names=last_names,
    )
    return {row["username"]: row["id"] for row in rows}


async def _demo_invoices(connection: Connection, user_ids: dict[str, int]) -> None:
    invoices = [invoice for invoice in INVOICES if invoice[0] in user_ids]
    if not invoices:
        return
    issued = await create_invoices(
        connection,
        [
            CreateInvoice(user_ids[username], amount, label, CLI)
            for username, amount, label, _ in invoices
        ],
    )
    await pay_invoices(
        connection,
        [
            PayInvoice(outcome.id, CLI)
            for outcome, (_, _, _, paid) in zip(issued, invoices, strict=True)
            if isinstance(outcome, Invoice) and paid
        ],
    )


async def _demo_service_orders(connection: Connection) -> None:
    """Import the orders if the services are new."""
    added = await queries.seed.add_services(
        connection,
        service_ids=[service.id for service in SERVICES],
        names=[service.name for service in SERVICES],
    )
    if len(added) == len(SERVICES):
        await import_orders(connection, SERVICE_ORDERS)
        await queries.seed.skip_service_ids(connection)


async def load_users(database: Database, count: int, advance: Callable[[int], None]) -> None:
    """Create the missing users of load-1 to load-`count`, each with its opening entry.

    They leave no events; a chunk is a transaction. `advance` is called with the number of users
    that each step has created or found.
    """
    for first in range(1, count + 1, CHUNK_USERS):
        last = min(first + CHUNK_USERS - 1, count)
        async with database.transaction() as connection:
            await queries.seed.add_load_users(
                connection, first=first, last=last, balance=LOAD_USER_BALANCE
            )
        advance(last - first + 1)
