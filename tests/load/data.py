"""What the rows draw from: users, products, invoices, accounts of the ledger alone."""

import asyncio
import random

from harness import HERE, WRK_THREADS, Stage

from rowlock.benefits.rules import PlaceOrder
from rowlock.benefits.transactions import place_orders
from rowlock.engine.database import Database
from rowlock.engine.statements import queries
from rowlock.ops import seed
from rowlock.settings import Settings

USERS = 100_000
PRODUCTS = 1_000
INVOICES = 300_000  # loaded at a time for the hot user
INVOICES_PER_S = 15_000  # at most paid by any side
ORDERS_PER_S = 12_000  # at most refunded
CHUNK_ORDERS = 2_000  # placed in a transaction
DAYS = 2_500_000  # for bookings: so many that nearly all of them fit

LAST_INVOICE = "SELECT coalesce(max(id), 0) FROM invoices"
LAST_ORDER = "SELECT coalesce(max(id), 0) FROM orders"


def load(stage: Stage, users: int = USERS) -> None:
    """Add the users, the products and the services that every row may use, unless they exist."""
    settings = Settings().changed(statement_timeout_s=300.0)  # a chunk of users is one statement

    async def add() -> None:
        numbers = range(1, PRODUCTS + 1)
        async with Database(stage.postgres.url, settings.database) as database:
            await seed.load_users(database, users, lambda _: None)
            async with database.transaction() as connection:
                await queries.seed.add_products(
                    connection,
                    slugs=[f"load-product-{number}" for number in numbers],
                    names=[f"Product {number}" for number in numbers],
                    prices=[100 + number for number in numbers],
                )
                await queries.seed.add_services(connection, service_ids=[123], names=["Inspection"])

    stage.progress.doing(f"loading {users:,} users")
    asyncio.run(add())
    # Only what has rows: a table known to be empty is planned for as if it stayed so.
    stage.postgres.execute("VACUUM ANALYZE users, ledger_entries, products")
    stage.postgres.execute("CHECKPOINT")


def load_peers(stage: Stage) -> None:
    """Add the functions of the peers that have their logic in the database, and pgledger's."""
    for name in ("functions", "pgledger"):
        stage.postgres.execute((HERE / "peers" / f"{name}.sql").read_text(encoding="ascii"))
    stage.postgres.execute(
        "INSERT INTO transfers.accounts (name) SELECT 'load-' || n FROM generate_series(1, %s) n",
        USERS,
    )
    stage.postgres.execute("VACUUM ANALYZE transfers.accounts")


def all_pairs(*_: object) -> tuple[int, int]:
    """Return how many users and products a benefit order may draw from."""
    return USERS, PRODUCTS


def user_ids(stage: Stage, _: float = 0) -> tuple[int, int]:
    """Return the first and the last id of the load-test users, which have all between."""
    numbers = "SELECT {}(id) FROM users WHERE username LIKE 'load-%'"
    first, last = (stage.postgres.number(numbers.format(which)) for which in ("min", "max"))
    return first, last


def to_one(stage: Stage, _: float = 0) -> tuple[int, int, int]:
    """Return the users between whom money goes: the first of them gets it."""
    return (*user_ids(stage), 1)


def buyers(stage: Stage, seconds: float) -> tuple[int, int, int]:
    """Return the first and the last user id, and how many products there are."""
    return (*user_ids(stage, seconds), PRODUCTS)


def users_read(stage: Stage, _: float) -> tuple[object, ...]:
    return ("/user/", *user_ids(stage))


def payments(stage: Stage, seconds: float) -> tuple[int, int]:
    """Return the first of as many pending invoices of one user as any side can pay."""
    first, last = next_invoice(stage), stage.postgres.number(LAST_INVOICE)
    if last - first < seconds * INVOICES_PER_S:
        load_invoices(stage, INVOICES, accounts=1)
    return first, WRK_THREADS


def scattered_payments(stage: Stage, seconds: float) -> tuple[int, int]:
    """Return the first of as many pending invoices, of all users in turn."""
    first = stage.postgres.number(LAST_INVOICE) + 1
    load_invoices(stage, int(seconds * INVOICES_PER_S), accounts=USERS)
    return first, WRK_THREADS


def refundable(stage: Stage, seconds: float) -> tuple[int, int]:
    """Return the first of as many benefit orders, of all users, that nobody has refunded."""
    return load_orders(stage, int(seconds * ORDERS_PER_S)), WRK_THREADS


def next_invoice(stage: Stage) -> int:
    """Return the first invoice after those that are paid; all that follow are pending."""
    # True while nobody but load_invoices issues any, and all to one user: other rows come later.
    return 1 + stage.postgres.number(
        "SELECT coalesce(max(id), 0) FROM invoices WHERE status = 'paid'"
    )


def load_invoices(stage: Stage, count: int, accounts: int) -> None:
    """Add pending invoices, spread over so many users in turn."""
    first_user, _ = user_ids(stage)
    stage.postgres.execute(
        """
        INSERT INTO invoices (user_id, amount, label)
        SELECT %s + n %% %s, 11350, 'Work for April' FROM generate_series(1, %s) AS n ORDER BY n
        """,
        first_user,
        accounts,
        count,
    )
    stage.postgres.execute("VACUUM ANALYZE invoices")
    stage.postgres.execute("CHECKPOINT")


def load_orders(stage: Stage, count: int) -> int:
    """Place about so many benefit orders, as the service does; return the id of the first.

    Nobody else places any meanwhile, so the ids that follow are theirs.
    """

    def any_order() -> PlaceOrder:
        slug = f"load-product-{random.randint(1, PRODUCTS)}"
        return PlaceOrder(f"load-{random.randint(1, USERS)}", (slug,))

    async def add() -> None:
        async with Database(stage.postgres.url, Settings().database) as database:
            for _ in range(0, count, CHUNK_ORDERS):
                async with database.transaction() as connection:
                    await place_orders(connection, [any_order() for _ in range(CHUNK_ORDERS)])

    first = stage.postgres.number(LAST_ORDER) + 1
    asyncio.run(add())
    stage.postgres.execute("VACUUM ANALYZE orders, order_items, owned_products")
    stage.postgres.execute("CHECKPOINT")
    return first
