"""What the clients of a drill look at: balances, ledgers, statements and documents."""

from datetime import UTC, datetime, timedelta
from typing import Any

from rowlock.ops.drill.clients import NO_ANSWER, Answer, Client
from rowlock.ops.drill.journal import (
    Entry,
    SawBalance,
    SawBalanceAt,
    SawDocument,
    SawLedger,
    SawShopper,
    SawStatement,
)

LEDGER_PAGE = 10
STATEMENT_PAGE = 20
LONGEST_STATEMENT_S = 10.0
AGO_S = 5.0  # the oldest balances that are asked for, but for those of the future


async def see_user(client: Client, user_id: int | None = None) -> None:
    """Look at a balance, in one of two places."""
    user_id = user_id or client.any_user()
    place = client.rng.choice(("", "/balance"))
    answer = await client.ask(f"/user/{user_id}{place}")
    if answer.is_done:
        client.note(answer, SawBalance(user_id, answer.body["balance"]))


async def see_balance_at(client: Client) -> None:
    """Look at the balance before a time: mostly of the last seconds, sometimes of the next one."""
    user_id, at = client.any_user(), _ago(client.rng.uniform(-1, AGO_S))
    answer = await client.ask(f"/user/{user_id}/balance?at={_write(at)}")
    if answer.is_done:
        client.note(answer, SawBalanceAt(user_id, at, answer.body["balance"]))


async def see_ledger(client: Client) -> None:
    """Look at the last entries of a ledger."""
    user_id = client.any_user()
    answer = await client.ask(f"/user/{user_id}/ledger?limit={LEDGER_PAGE}")
    if answer.is_done:
        page = tuple(_entry(row) for row in answer.body)
        client.note(answer, SawLedger(user_id, page, LEDGER_PAGE))


async def see_statement(client: Client) -> None:
    """Read the statement of some seconds, page by page: its end is fixed with the first one."""
    user_id, since = client.any_user(), _ago(client.rng.uniform(0, LONGEST_STATEMENT_S))
    path = f"/user/{user_id}/statement?from={_write(since)}&limit={STATEMENT_PAGE}"
    first = page = await client.ask(path)
    entries: list[Entry] = []
    while page.is_done:
        entries += [_entry(row) for row in page.body["entries"]]
        ends = [
            (each.body["opening_balance"], each.body["closing_balance"]) for each in (first, page)
        ]
        client.expect(ends[0] == ends[1], page, "the pages have other balances")
        if page.next_page is None:
            seen = SawStatement(user_id, since, *ends[0], tuple(entries))
            client.note(first, seen)
            return
        page = await client.ask(page.next_page)


async def see_shopper(client: Client) -> None:
    """Look at a user of the benefits shop."""
    if username := client.recent("usernames"):
        note_shopper(client, await client.ask(f"/api/users/{username}"), username)


async def see_order(client: Client) -> None:
    """Look at an order of one of the shops."""
    if order_id := client.recent(client.rng.choice(("orders", "benefit_orders"))):
        await see_document(client, "order", order_id)


async def see_invoice(client: Client) -> None:
    """Look at an invoice."""
    if invoice_id := client.recent("invoices"):
        await see_document(client, "invoice", invoice_id)


async def see_transfer(client: Client) -> None:
    """Look at a transfer."""
    if transfer_id := client.recent("transfers"):
        await see_document(client, "transfer", transfer_id)


async def see_document(client: Client, kind: str, document_id: int) -> None:
    """Look at a document."""
    answer = await client.ask(f"/{kind}s/{document_id}")
    if answer.status == NO_ANSWER:
        return
    seen: dict[str, Any] = answer.body if answer.is_done else {"status": None}
    status, refunded = seen.get("status", "made"), seen.get("refundedCents", 0)
    client.note(answer, SawDocument(f"{kind}:{document_id}", status, refunded))


def note_shopper(client: Client, answer: Answer, username: str) -> None:
    """Note the balance and the products of a user of the benefits shop."""
    if answer.is_done:
        data = answer.body["user"]["data"]
        balance = round(data["balance"] * 100)
        client.note(answer, SawShopper(username, balance, frozenset(data["product_ids"])))


def _entry(row: dict[str, Any]) -> Entry:
    return Entry(*(row[name] for name in Entry._fields))


def _ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def _write(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
