"""Idempotency keys across real processes, one of them killed between its commit and its answer."""

import asyncio

import aiohttp
import pytest

from tests.support.polling import until
from tests.support.processes import Service
from tests.support.types import Connection

GATE = 42  # an advisory lock at which a COMMIT waits


@pytest.fixture
async def invoices(connection: Connection) -> None:
    """Ten invoices of 1.00 for one user."""
    await connection.execute("INSERT INTO users (username) VALUES ('ada')")
    await connection.execute(
        "INSERT INTO invoices (user_id, amount, label) "
        "SELECT 1, 100, 'Work' FROM generate_series(1, 10)"
    )


async def pay(
    session: aiohttp.ClientSession, service: Service, invoice_id: int
) -> tuple[int, str, bool]:
    """Pay an invoice with its own key; return the status, the body, and whether it is a replay."""
    headers = {"Idempotency-Key": f"pay-{invoice_id}"}
    url = f"{service.url}/invoices/{invoice_id}/pay"
    async with session.post(url, headers=headers) as response:
        return response.status, await response.text(), "Idempotency-Replayed" in response.headers


async def test_kill__between_commit_and_answer__replayed_after_the_restart(
    database_url: str, connection: Connection, invoices: None
) -> None:
    await connection.execute(
        f"""
        CREATE FUNCTION wait_at_the_gate() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER gate AFTER INSERT ON ledger_entries
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_the_gate()"""
    )
    service = Service(
        "commerce", database_url=database_url, lock_timeout_s=30, statement_timeout_s=60
    )
    async with aiohttp.ClientSession() as session:
        async with service:
            await connection.execute("SELECT pg_advisory_lock($1)", GATE)
            paying = asyncio.create_task(pay(session, service, 1))
            await until(lambda: is_committing(connection))
            await service.kill()
            with pytest.raises(aiohttp.ClientConnectionError):
                await paying
            await connection.execute("SELECT pg_advisory_unlock($1)", GATE)
            await until(lambda: connection.fetchval("SELECT balance = 100 FROM users"))
        async with service:
            for _ in range(2):
                status, body, is_replay = await pay(session, service, 1)
                assert (status, is_replay) == (200, True)
                assert '"status":"paid"' in body
    assert await connection.fetchval("SELECT sum(amount) FROM ledger_entries") == 100


async def is_committing(connection: Connection) -> bool:
    return bool(
        await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND query ILIKE 'COMMIT%' AND wait_event = 'advisory'"
        )
    )


async def test_two_processes__every_key_at_both_at_once__one_execution_and_one_answer(
    database_url: str, connection: Connection, invoices: None
) -> None:
    async with (
        Service("commerce", database_url=database_url) as one,
        Service("commerce", database_url=database_url) as two,
        aiohttp.ClientSession() as session,
    ):
        requests = [(service, number) for number in range(1, 11) for service in (one, two)] * 5
        answers = await asyncio.gather(*(pay(session, *request) for request in requests))
    assert {status for status, _, _ in answers} == {200}
    assert sum(not is_replay for _, _, is_replay in answers) == 10
    assert len({body for _, body, _ in answers}) == 10
    assert await connection.fetchval("SELECT sum(amount) FROM ledger_entries") == 1000
