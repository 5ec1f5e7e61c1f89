"""Batches of the catalogue: as if one at a time, and side by side with other processes."""

import asyncio
from collections import Counter
from typing import Any

from hypothesis import strategies as st

from rowlock.catalogue import Catalogue
from rowlock.catalogue.rules import (
    ChangeProduct,
    ChangeService,
    CreateProduct,
    CreateService,
    Product,
    Restore,
    Retire,
    Service,
)
from rowlock.catalogue.transactions import (
    change_products,
    change_services,
    create_products,
    create_services,
)
from rowlock.engine.database import Database
from rowlock.origin import Origin
from rowlock.rejections import Rejection
from rowlock.settings import Settings
from tests.support.contract import told
from tests.support.databases import Databases
from tests.support.equivalence import (
    TRACES,
    Feature,
    History,
    assert_batches_equal_one_at_a_time,
)
from tests.support.types import Connection

# Few of each, so that commands meet.
slugs = st.sampled_from(["netflix", "spotify", "gym"])
names = st.sampled_from(["One", "Two"])
prices = st.integers(0, 2)
# 1 and 2 are there in any run; the ids of further products depend on conflicts.
product_ids = st.sampled_from([1, 2, 999])
service_ids = st.integers(1, 4)
origins = st.builds(
    Origin, st.sampled_from(["r-1", "r-2"]), st.sampled_from(["token", "key:partner"]), TRACES
)


class Products(tuple[Any, ...]):
    """A command for products, as the harness finds a function by the class of a command."""


class Services(tuple[Any, ...]):
    """A command for services."""


async def change_some_products(
    connection: Any, commands: list[Products]
) -> list[Product | Rejection]:
    return await change_products(connection, [command[0] for command in commands])


async def change_some_services(
    connection: Any, commands: list[Services]
) -> list[Service | Rejection]:
    return await change_services(connection, [command[0] for command in commands])


def changes(change: st.SearchStrategy[Any], ids: st.SearchStrategy[int]) -> st.SearchStrategy[Any]:
    return st.one_of(change, st.builds(Retire, ids, origins), st.builds(Restore, ids, origins))


commands: dict[type, st.SearchStrategy[Any]] = {
    CreateProduct: st.builds(CreateProduct, slugs, names, prices, origins),
    CreateService: st.builds(CreateService, names, origins),
    Products: changes(
        st.builds(ChangeProduct, product_ids, st.none() | names, st.none() | prices, origins),
        product_ids,
    ).map(lambda command: Products([command])),
    Services: changes(st.builds(ChangeService, service_ids, names, origins), service_ids).map(
        lambda command: Services([command])
    ),
}
batches = st.sampled_from(list(commands)).flatmap(
    lambda kind: st.lists(commands[kind], min_size=1, max_size=12)
)
histories: st.SearchStrategy[History] = st.lists(batches, min_size=1, max_size=6)


async def add_some(_database: Database, connection: Connection) -> None:
    await connection.execute(
        "INSERT INTO products (slug, name, price) VALUES ('gym', 'One', 1), ('old', 'Two', 0);"
        "INSERT INTO services (name) VALUES ('One'), ('Two')"
    )


def comparable(outcome: Any) -> Any:
    """Return what must be equal: not times, nor ids of new products, as conflicts use up some."""
    match outcome:
        case Product(_, slug, name, price, _, retired_at):
            return slug, name, price, retired_at is None
        case Service(service_id, name, _, retired_at):
            return service_id, name, retired_at is None
    return type(outcome), outcome.details


FEATURE = Feature(
    executors={
        CreateProduct: create_products,
        CreateService: create_services,
        Products: change_some_products,
        Services: change_some_services,
    },
    comparable=comparable,
    # The trigger counts the net change of a name by a batch, so `renames` may differ.
    state={
        "products": "SELECT slug, name, price, retired_at IS NULL AS l FROM products ORDER BY slug",
        "services": "SELECT id, name, retired_at IS NULL AS is_live FROM services ORDER BY id",
        "events": """
            SELECT name, payload - 'product_id' AS payload, request_id, actor FROM outbox
            ORDER BY xid, position""",
    },
    arrange=add_some,
)


def test_batches__any_history__equal_one_at_a_time(main_databases: Databases) -> None:
    assert_batches_equal_one_at_a_time(main_databases, FEATURE, histories, examples=25)


async def test_create_product__one_slug_by_two_processes__one_has_it_and_the_others_are_refused(
    database: Database, database_url: str, settings: Settings, connection: Connection
) -> None:
    """In opposite orders, so that each process may wait for the other one's slugs."""
    slugs = [f"product-{number}" for number in range(40)]
    async with Database(database_url, settings.database) as other:
        lanes = [Catalogue(each, settings.batches).create_product for each in (database, other)]
        outcomes = await asyncio.gather(
            *(lanes[0].submit(CreateProduct(slug, "One", 1)) for slug in slugs),
            *(lanes[1].submit(CreateProduct(slug, "Two", 2)) for slug in reversed(slugs)),
        )
    kinds = Counter(each.code if isinstance(each, Rejection) else "created" for each in outcomes)
    assert kinds == {"created": 40, "slug_taken": 40}
    stored = {slug for [slug] in await connection.fetch("SELECT slug FROM products")}
    assert stored == {*slugs}
    created = [payload["slug"] for _, payload in await told(connection, "product.created")]
    assert sorted(created) == sorted(slugs)


async def test_create_products__in_a_transaction_of_the_caller__gone_if_it_is_rolled_back(
    connection: Connection,
) -> None:
    commands = [CreateProduct("gym", "Gym", 1), CreateProduct("netflix", "Netflix", 2)]
    transaction = connection.transaction()
    await transaction.start()
    added = await create_products(connection, commands)
    assert [each.slug for each in added if isinstance(each, Product)] == ["gym", "netflix"]
    assert all(
        isinstance(each, Service)
        for each in await create_services(
            connection, [CreateService("Inspection"), CreateService("Inspection")]
        )
    )
    await transaction.rollback()
    assert await connection.fetchval("SELECT count(*) FROM products") == 0
    assert await connection.fetchval("SELECT count(*) FROM outbox") == 0


async def test_retire__after_a_wait_for_the_row__not_before_the_other_change(
    database: Database, settings: Settings, connection: Connection
) -> None:
    """The time is had with the lock, however long that took."""
    await connection.execute("INSERT INTO products (slug, name, price) VALUES ('gym', 'Gym', 1)")
    catalogue = Catalogue(database, settings.batches)
    async with connection.transaction():
        await connection.execute("UPDATE products SET price = 2")
        retiring = asyncio.create_task(catalogue.change_product.submit(Retire(1)))
        waits = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = $1"
        )
        name = await connection.fetchval("SELECT current_database()")
        while not await connection.fetchval(waits, name):
            await connection.execute("SELECT pg_stat_clear_snapshot()")
        released = await connection.fetchval("SELECT clock_timestamp()")
    retired = await retiring
    assert isinstance(retired, Product)
    assert (retired.price, retired.retired_at is not None) == (2, True)
    assert retired.retired_at is not None
    assert retired.retired_at > released
