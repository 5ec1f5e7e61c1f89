"""HTTP ↔ command: invoices. All amounts are minor units."""

from collections.abc import Sequence

from aiohttp import web
from marshmallow import fields, validate

from rowlock.batching import Lane, group_commit, group_read
from rowlock.database import Connection, Database
from rowlock.exceptions import (
    BalanceLimitExceeded,
    InvoiceAlreadyPaid,
    InvoiceNotFound,
    Rejection,
    UserNotFound,
)
from rowlock.invoices import commands
from rowlock.invoices.rules import LABEL_LENGTH, STATUSES, CreateInvoice, Invoice, PayInvoice
from rowlock.queries import queries
from rowlock.settings import Settings
from rowlock.web.bodies import (
    NOTHING,
    Body,
    Integer,
    QueryInteger,
    Text,
    path_id,
    read_body,
    read_nothing,
    read_query,
)
from rowlock.web.boundary import REQUEST_ID_KEY
from rowlock.web.commit import commit
from rowlock.web.docs import (
    array,
    choice,
    created,
    describe,
    instant,
    integer,
    nullable,
    record,
    text,
)
from rowlock.web.pages import PageQuery, cut
from rowlock.web.replies import reply
from rowlock.web.service import DATABASE, State

ROUTES = web.RouteTableDef()

FIND_INVOICE: web.AppKey[Lane[int, Invoice | None]] = web.AppKey("find_invoice")
CREATE_INVOICE: web.AppKey[Lane[CreateInvoice, Invoice | Rejection]] = web.AppKey("create_invoice")
PAY_INVOICE: web.AppKey[Lane[PayInvoice, Invoice | Rejection]] = web.AppKey("pay_invoice")

AMOUNT_LIMIT = 1_000_000_000_000


def state(database: Database, settings: Settings) -> State:
    """Return what this feature keeps."""
    return {
        FIND_INVOICE: group_read("find_invoice", database, _find_invoices, settings),
        CREATE_INVOICE: group_commit(
            "create_invoice", database, commands.create_invoices, settings
        ),
        PAY_INVOICE: group_commit("pay_invoice", database, commands.pay_invoices, settings),
    }


async def _find_invoices(connection: Connection, ids: Sequence[int]) -> dict[int, Invoice]:
    rows = await queries.invoices.find_invoices(connection, invoice_ids=ids)
    return {row["id"]: Invoice(*row) for row in rows}


class InvoiceBody(Body):
    """`{"user_id": 1, "amount": 11350, "label": "Work for April"}`."""

    user_id = Integer(required=True)
    amount = Integer(required=True, maximum=AMOUNT_LIMIT)
    label = Text(required=True, longest=LABEL_LENGTH)


class InvoicesQuery(PageQuery):
    """The filters of the list."""

    user_id = QueryInteger(load_default=None)
    status = fields.String(validate=validate.OneOf(STATUSES), load_default=None)


INVOICE_BODY = InvoiceBody()
INVOICES_QUERY = InvoicesQuery()

INVOICE = record(
    "Invoice",
    id=integer(1),
    user_id=integer(1),
    amount=integer(11_350),
    label=text("Work for April"),
    status=choice(*STATUSES),
    created_at=instant(),
    paid_at=nullable(instant()),
)


@ROUTES.post("/invoices")
@describe(
    {201: created(INVOICE, at="/invoices/1")},
    UserNotFound,
    body=INVOICE_BODY,
    example={"user_id": 1, "amount": 11350, "label": "Work for April"},
)
async def create_invoice(request: web.Request) -> web.Response:
    """Issue an invoice."""
    body = await read_body(request, INVOICE_BODY)
    command = CreateInvoice(**body, request_id=request[REQUEST_ID_KEY])
    return await commit(request, CREATE_INVOICE, command, _created)


def _created(invoice: Invoice) -> web.Response:
    return reply(invoice, status=201, headers={"Location": f"/invoices/{invoice.id}"})


@ROUTES.get("/invoices/{id}")
@describe({200: INVOICE}, InvoiceNotFound)
async def get_invoice(request: web.Request) -> web.Response:
    """Answer with one invoice."""
    invoice_id = path_id(request)
    invoice = await request.app[FIND_INVOICE].submit(invoice_id)
    if invoice is None:
        raise InvoiceNotFound(f"There is no invoice {invoice_id}.", invoice_id=invoice_id)
    return reply(invoice)


@ROUTES.get("/invoices")
@describe({200: array(INVOICE)}, query=INVOICES_QUERY)
async def list_invoices(request: web.Request) -> web.Response:
    """Answer with a page of invoices, newest first."""
    query = read_query(request, INVOICES_QUERY)
    before, page_size = query["before"], query["limit"] + 1
    async with request.app[DATABASE].reader() as connection:
        if query["user_id"] is not None:
            rows = await queries.invoices.list_user_invoices(
                connection,
                user_id=query["user_id"],
                statuses=STATUSES if query["status"] is None else [query["status"]],
                before=before,
                page_size=page_size,
            )
        elif query["status"] is not None:
            rows = await queries.invoices.list_invoices_by_status(
                connection, status=query["status"], before=before, page_size=page_size
            )
        else:
            rows = await queries.invoices.list_invoices(
                connection, before=before, page_size=page_size
            )
    page, headers = cut(request, rows, query["limit"])
    return reply([dict(row) for row in page], headers=headers)


@ROUTES.post("/invoices/{id}/pay")
@describe(
    {200: INVOICE},
    InvoiceNotFound,
    InvoiceAlreadyPaid,
    BalanceLimitExceeded,
    body=NOTHING,
    example={},
)
async def pay_invoice(request: web.Request) -> web.Response:
    """Pay an invoice, crediting its user's balance, and answer with it."""
    command = PayInvoice(path_id(request), request[REQUEST_ID_KEY])
    await read_nothing(request)
    return await commit(request, PAY_INVOICE, command, reply)
