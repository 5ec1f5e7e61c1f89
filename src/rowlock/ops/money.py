"""The audit of the money: documents, ledger entries and balances must agree.

It goes through the tables by pages of keys. A page is a statement, which compares what was
committed together, so it may run while money moves.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from rowlock.engine.database import Connection, Database
from rowlock.engine.statements import queries

if TYPE_CHECKING:
    from rowlock.engine.typed.doctor import CompareOrdersRow

PAGE = 50_000
SHOWN = 100  # differences of one kind
LOWEST, HIGHEST = -(2**63), 2**63 - 1  # bigint

# Called with what is looked at, how many rows were, and about how many there are.
Advance = Callable[[str, int, int], object]
# Returns what differs in rows with ids above the first, up to the second.
Compare = Callable[[Connection, int, int], Awaitable[list[str]]]


class _Page(Protocol):
    def __getitem__(self, key: Literal["last_id"], /) -> int | None: ...


class _Pages(Protocol):
    async def __call__(
        self, connection: Connection, *, after: int, page_size: int
    ) -> Sequence[_Page]: ...


async def differences(database: Database, advance: Advance) -> AsyncIterator[tuple[str, str]]:
    """Yield what does not agree: the check, money or documents, and a sentence.

    Of each kind, it stops after the page that has brought SHOWN.
    """
    async with database.connection() as connection:
        [rows] = await queries.doctor.estimate_rows(connection)
        parts: tuple[tuple[str, str, int, _Pages, Compare], ...] = (
            ("money", "users", rows["users"], queries.doctor.page_users, _compare_users),
            ("documents", "orders", rows["orders"], queries.doctor.page_orders, _compare_orders),
            (
                "documents",
                "invoices",
                rows["invoices"],
                queries.doctor.page_invoices,
                _compare_invoices,
            ),
            (
                "documents",
                "transfers",
                rows["transfers"],
                queries.doctor.page_transfers,
                _compare_transfers,
            ),
            (
                "documents",
                "refunds",
                rows["refunds"],
                queries.doctor.page_refunds,
                _compare_refunds,
            ),
        )
        for check, noun, total, pages, compare in parts:
            after, done, shown = LOWEST, 0, 0
            while after < HIGHEST and shown < SHOWN:
                [page] = await pages(connection, after=after, page_size=PAGE)
                last_id = page["last_id"]
                upto = HIGHEST if last_id is None else last_id  # entries may go beyond
                for difference in await compare(connection, after, upto):
                    shown += 1
                    yield check, difference
                after, done = upto, done + PAGE
                advance(noun, done, max(total, done))
        for row in await queries.doctor.compare_contras(connection):
            yield (
                "documents",
                f"the contra account {row['contra']}: its entries add up to "
                f"{int(row['ledger_total'])}, its documents to {int(row['documents_total'])}",
            )


async def _compare_users(connection: Connection, after: int, upto: int) -> list[str]:
    told = []
    for row in await queries.doctor.compare_users(
        connection, after=after, upto=upto, page_size=SHOWN
    ):
        total = int(row["ledger_total"])
        if row["balance"] is None:
            told.append(f"user {row['id']}: there is no such user, the ledger adds up to {total}")
            continue
        user = f"user {row['id']} ({row['username']})"
        if row["balance"] != row["ledger_total"]:
            told.append(f"{user}: the balance is {row['balance']}, the ledger adds up to {total}")
        if (entry := row["broken_entry_id"]) is not None:
            told.append(f"{user}: entry {entry} does not go on from the balance before it")
    unbought = await queries.doctor.find_unbought_products(
        connection, after=after, upto=upto, page_size=SHOWN
    )
    return told + [
        f"user {row['user_id']} owns product {row['product_id']}, which no benefit order has bought"
        for row in unbought
    ]


async def _compare_orders(connection: Connection, after: int, upto: int) -> list[str]:
    rows = await queries.doctor.compare_orders(connection, after=after, upto=upto, page_size=SHOWN)
    wrong = await queries.doctor.compare_items(connection, after=after, upto=upto, page_size=SHOWN)
    refunded = await queries.doctor.compare_refunded_orders(
        connection, after=after, upto=upto, page_size=SHOWN
    )
    lost = await queries.doctor.find_lost_products(
        connection, after=after, upto=upto, page_size=SHOWN
    )
    told = [_describe("order", "approved", row) for row in rows]
    told += [
        f"order {row['id']}: the amount is {row['amount']}, "
        f"its items add up to {int(row['items_total'])}"
        for row in wrong
    ]
    for each in refunded:
        if each["refunded"] != each["refunds_total"]:
            total = int(each["refunds_total"])
            told.append(
                f"order {each['id']}: {each['refunded']} is refunded, its refunds add up to {total}"
            )
        if each["strangers"]:
            told.append(f"order {each['id']}: {each['strangers']} refunds are of another user")
    return told + [
        f"order {row['order_id']} has bought product {row['product_id']}, "
        f"but user {row['user_id']} does not own it"
        for row in lost
    ]


async def _compare_refunds(connection: Connection, after: int, upto: int) -> list[str]:
    rows = await queries.doctor.compare_refunds(connection, after=after, upto=upto, page_size=SHOWN)
    kept = await queries.doctor.find_kept_products(
        connection, after=after, upto=upto, page_size=SHOWN
    )
    return [_describe("refund", "such", row) for row in rows] + [
        f"order {row['order_id']} was refunded, but user {row['user_id']} still owns "
        f"product {row['product_id']}"
        for row in kept
    ]


async def _compare_invoices(connection: Connection, after: int, upto: int) -> list[str]:
    rows = await queries.doctor.compare_invoices(
        connection, after=after, upto=upto, page_size=SHOWN
    )
    reversals = await queries.doctor.compare_reversals(
        connection, after=after, upto=upto, page_size=SHOWN
    )
    return [_describe("invoice", "paid", row) for row in rows] + [
        _describe("reversal of invoice", "such", row) for row in reversals
    ]


async def _compare_transfers(connection: Connection, after: int, upto: int) -> list[str]:
    rows = await queries.doctor.compare_transfers(
        connection, after=after, upto=upto, page_size=SHOWN
    )
    return [_describe("transfer", "such", row) for row in rows]


def _describe(kind: str, settled: str, row: "CompareOrdersRow") -> str:
    document = f"{kind} {row['document_id']}"
    entry = f"entry {row['entry_id']} of user {row['entry_user_id']}, over {row['entry_amount']}"
    if row["entry_id"] is None:
        return f"{document} of user {row['user_id']}, over {row['amount']}: the ledger has no entry"
    if row["amount"] is None:
        return f"{entry}: there is no {settled} {document} of that user"
    return f"{document} over {row['amount']}: {entry}"
