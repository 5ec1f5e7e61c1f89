"""HTTP ↔ command: transfers. All amounts are minor units."""

from aiohttp import web

from rowlock.accounts.rules import BALANCE_LIMIT
from rowlock.http.access import origin_of
from rowlock.http.answers import reply
from rowlock.http.bodies import DocumentBody
from rowlock.http.fields import METADATA, Cents, Integer, Text
from rowlock.http.openapi.shapes import (
    array,
    created,
    instant,
    integer,
    nullable,
    record,
    text,
)
from rowlock.http.paging import DocumentsQuery, paginate
from rowlock.http.request import read_body, read_query
from rowlock.http.routes import Routes, route
from rowlock.http.strict_json import invalid_request
from rowlock.http.submit import find_by_path, submit
from rowlock.rejections import (
    BalanceLimitExceeded,
    InsufficientBalance,
    ReferenceTaken,
    TransferNotFound,
    UserNotFound,
)
from rowlock.transfers import Transfers
from rowlock.transfers.rules import LABEL_LENGTH, Filter, MakeTransfer, Transfer


class TransferBody(DocumentBody):
    """`{"from_user_id": 1, "to_user_id": 2, "amount": 2500, "label": "Lunch"}`."""

    from_user_id = Integer(required=True)
    to_user_id = Integer(required=True)
    amount = Cents(required=True, maximum=BALANCE_LIMIT)
    label = Text(required=True, longest=LABEL_LENGTH, lines=True)


TRANSFER_BODY = TransferBody()
TRANSFERS_QUERY = DocumentsQuery()

TRANSFER = record(
    "Transfer",
    id=integer(1),
    from_user_id=integer(1),
    to_user_id=integer(2),
    amount=integer(2_500, maximum=BALANCE_LIMIT),
    label=text("Lunch"),
    reference=nullable(text("2026-0042")),
    metadata=nullable(METADATA),
    created_at=instant(),
)


class TransferRoutes(Routes):
    """Transfers."""

    tag = "transfers"

    def __init__(self, transfers: Transfers) -> None:
        self._transfers = transfers

    @route(
        "POST",
        "/transfers",
        {201: created(TRANSFER, at="/transfers/1")},
        UserNotFound,
        InsufficientBalance,
        BalanceLimitExceeded,
        ReferenceTaken,
        body=TRANSFER_BODY,
        example={"from_user_id": 1, "to_user_id": 2, "amount": 2500, "label": "Lunch"},
    )
    async def make_transfer(self, request: web.Request) -> web.Response:
        """Transfer money from one user to another."""
        body = await read_body(request, TRANSFER_BODY)
        if body["from_user_id"] == body["to_user_id"]:
            raise invalid_request([("to_user_id", ["Must be another user than from_user_id."])])
        command = MakeTransfer(**body, origin=origin_of(request))
        return await submit(request, self._transfers.make, command, _created)

    @route("GET", "/transfers/{id}", {200: TRANSFER}, TransferNotFound)
    async def get_transfer(self, request: web.Request) -> web.Response:
        """Get a transfer."""
        return reply(await find_by_path(request, self._transfers.find, TransferNotFound))

    @route("GET", "/transfers", {200: array(TRANSFER)}, query=TRANSFERS_QUERY)
    async def list_transfers(self, request: web.Request) -> web.Response:
        """List transfers, newest first.

        With `user_id`, those that this user has made or got.
        """
        query = read_query(request, TRANSFERS_QUERY)
        limit, before = query.pop("limit"), query.pop("before")
        transfers = await self._transfers.list_page(
            Filter(**query), before=before, page_size=limit + 1
        )
        page, headers = paginate(request, transfers, limit, lambda transfer: str(transfer.id))
        return reply(page, headers=headers)


def _created(transfer: Transfer) -> web.Response:
    return reply(transfer, status=201, headers={"Location": f"/transfers/{transfer.id}"})
