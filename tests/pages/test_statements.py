"""The console's statements: headers, plans and figures; locks and old transactions."""

import asyncio
import re

import asyncpg
import pytest

from rowlock.engine.statements import queries
from tests.support.console import Visitor, text_of
from tests.support.polling import until
from tests.support.types import Connection


async def test_list__all__each_with_its_purpose(operator: Visitor) -> None:
    page = await operator.page("/statements")
    for query in queries:
        assert f"/statements/{query.name}" in page


async def test_list__filters_and_sorting__applied(operator: Visitor) -> None:
    page = await operator.page("/statements?name=orders/find_left&sort=total")
    assert "orders/find_left" in page
    assert "users/" not in page
    assert "No statement matches" in await operator.page("/statements?name=nothing+such")
    response = await operator.get("/statements?name=orders/&format=csv")
    lines = (await response.text()).splitlines()
    assert lines[0].startswith("name,database,calls")
    assert len(lines) > 5


@pytest.mark.parametrize("query", ["sort=odd", "other=1", "name=" + "x" * 101])
async def test_list__bad_filters__400(operator: Visitor, query: str) -> None:
    assert 'class="problem"' in await operator.page(f"/statements?{query}", status=400)


async def test_figures__as_the_server_has_them__shown_or_how_to_get_them(
    operator: Visitor, connection: Connection
) -> None:
    try:
        await connection.execute("CREATE EXTENSION pg_stat_statements")
        await connection.fetch("SELECT 1 FROM pg_stat_statements LIMIT 1")
        has_figures = True
    except asyncpg.PostgresError:
        has_figures = False

    async def is_told() -> bool:
        page = await operator.page("/statements?name=console/count_waiting")
        if has_figures:
            return re.search(r"\d\.\d{3} ms", page) is not None
        return "set shared_preload_libraries, restart PostgreSQL" in page

    await until(is_told)


async def test_statement__each__its_plan_here_and_now(operator: Visitor) -> None:
    for query in queries:
        page = text_of(await operator.page(f"/statements/{query.name}"))
        assert query.purpose in page
        told = ("cost=", "it takes a lock", "The console's role may not run it")
        assert any(each in page for each in told), page


@pytest.mark.parametrize("name", ["orders/unknown", "x/y", "orders/%00", "..%2F..%2Fetc/passwd"])
async def test_statement__unknown__404(operator: Visitor, name: str) -> None:
    await operator.page(f"/statements/{name}", status=404)


async def test_activity__a_lock_waited_for__who_holds_it(
    operator: Visitor, connection: Connection, database_url: str
) -> None:
    assert "No session waits for a lock." in await operator.page("/statements/activity")
    other = await asyncpg.connect(database_url)
    async with connection.transaction():
        await connection.execute("LOCK TABLE products")
        holder = await connection.fetchval("SELECT pg_backend_pid()")
        waiting = asyncio.create_task(other.execute("BEGIN; LOCK TABLE products; COMMIT"))

        async def is_shown() -> bool:
            page = text_of(await operator.page("/statements/activity"))
            return f"AccessExclusiveLock on products {holder}" in page

        await until(is_shown)
        page = await operator.page("/statements/activity")
        assert "may not see what other roles do" in page  # the tests' console has its own role
    await waiting
    await other.close()


async def test_viewer__statements__may_look(viewer: Visitor) -> None:
    await viewer.page("/statements")
    await viewer.page("/statements/activity")
