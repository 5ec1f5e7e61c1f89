"""Invoices: the list, one invoice with all that happened to it, and what can be done about it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from aiohttp import web
from marshmallow import fields, validate

from rowlock.accounts.rules import Document
from rowlock.console import Features, reads
from rowlock.console.documents import path_of
from rowlock.console.stories import Step, read_log, tell
from rowlock.engine.lanes import WriteLane
from rowlock.errors import InvalidRequest, NotFound
from rowlock.http.access import origin_of
from rowlock.http.fields import REFERENCE_LENGTH, QueryInteger, Text, parse_integer
from rowlock.http.request import path_id
from rowlock.http.submit import find_by_path
from rowlock.invoices import Invoices
from rowlock.invoices.rules import (
    STATUSES,
    Filter,
    Invoice,
    PayInvoice,
    ReverseInvoice,
    VoidInvoice,
)
from rowlock.origin import Origin
from rowlock.pages.declaring import Pages, page
from rowlock.pages.forms import read_form
from rowlock.pages.frames import Frame
from rowlock.pages.lists import (
    PAGE_SIZE,
    SortedQuery,
    listing,
    none_of,
    read_filters,
    send_csv,
)
from rowlock.pages.templates import show_money
from rowlock.rejections import InvoiceNotFound, Rejection

COLUMNS = (
    "id", "status", "user_id", "amount", "label", "reference", "created_at", "paid_at",
    "voided_at", "reversed_at",
)  # fmt: skip
MARKED = "invoice"  # the name of the boxes in the list
MOST_MARKED = 100


class Act(NamedTuple):
    """What can be done about an invoice."""

    needs: str  # the status that it must have
    makes: Callable[[int, Origin], Any]
    lane: Callable[[Invoices], WriteLane[Any, Invoice | Rejection]]
    done: str
    what: str  # will happen to each


ACTS: Mapping[str, Act] = {
    "pay": Act(
        "pending",
        PayInvoice,
        lambda invoices: invoices.pay,
        "paid",
        "Each amount goes into the balance of the user who has issued the invoice.",
    ),
    "void": Act(
        "pending",
        VoidInvoice,
        lambda invoices: invoices.void,
        "made void",
        "A void invoice is never paid. This can't be undone.",
    ),
    "reverse": Act(
        "paid",
        ReverseInvoice,
        lambda invoices: invoices.reverse,
        "reversed",
        "Each amount is taken back from the balance of its user. A reversed invoice is never paid "
        "again.",
    ),
}


class InvoicesQuery(SortedQuery):
    """The filters of the list."""

    user_id = QueryInteger(data_key="user", load_default=None)
    status = fields.String(validate=validate.OneOf(STATUSES), load_default=None)
    reference = Text(longest=REFERENCE_LENGTH, load_default=None)


INVOICES_QUERY = InvoicesQuery()


class InvoicePages(Pages):
    """Invoices."""

    def __init__(self, frame: Frame, features: Features) -> None:
        self._frame = frame
        self._features = features

    @page("GET", "/invoices")
    async def list_invoices(self, request: web.Request) -> web.StreamResponse:
        """List invoices, newest first."""
        asked = read_filters(request, INVOICES_QUERY)
        values: dict[str, Any] = {"place": "invoices", "statuses": STATUSES}
        if asked.errors:
            return await self._frame.show(
                request, "console/invoices.html", status=400,
                listing=none_of(asked), names={}, **values,
            )  # fmt: skip
        wanted = Filter(**asked.filters())

        async def read(after: int, size: int) -> Sequence[Invoice]:
            if asked.is_oldest_first:
                return await self._features.invoices.list_oldest(
                    wanted, after=after, page_size=size
                )
            return await self._features.invoices.list_page(wanted, before=after, page_size=size)

        if asked.wants_csv:
            return await send_csv(
                request, "invoices", COLUMNS, read, _line,
                first=asked.first, key=lambda each: each.id,
            )  # fmt: skip
        found = await read(asked.start, PAGE_SIZE + 1)
        return await self._frame.show(
            request,
            "console/invoices.html",
            listing=listing(asked, found, lambda invoice: str(invoice.id)),
            names=await self._find_names(found),
            **values,
        )

    async def _find_names(self, invoices: Sequence[Invoice]) -> Mapping[int, str]:
        user_ids = {invoice.user_id for invoice in invoices}
        return await self._features.main.read(partial(reads.find_usernames, user_ids=user_ids))

    @page("GET", "/invoices/{id}")
    async def show_invoice(self, request: web.Request) -> web.StreamResponse:
        """Show an invoice, what it has moved, and all that happened to it."""
        invoice = await find_by_path(request, self._features.invoices.find, InvoiceNotFound)
        documents = [Document("invoice", invoice.id), Document("reversal", invoice.id)]
        log = await read_log(self._features, f"invoice:{invoice.id}")
        return await self._frame.show(
            request,
            "console/invoice.html",
            place="invoices",
            invoice=invoice,
            names=await self._find_names([invoice]),
            entries=await self._features.main.read(
                partial(reads.find_entries, documents=documents)
            ),
            path_of=path_of,
            steps=tell(_facts(invoice), log),
            dispatched=log.dispatched if log else 0,
            acts=[name for name, act in ACTS.items() if act.needs == invoice.status],
        )

    @page("GET", "/invoices/{id}/{act}")
    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Ask whether to pay, void or reverse an invoice."""
        invoice = await find_by_path(request, self._features.invoices.find, InvoiceNotFound)
        name, act = _act_of(request)
        return await self._frame.show(
            request,
            "console/invoice_confirm.html",
            place="invoices",
            title=f"{name.capitalize()} invoice {invoice.id}?",
            what=act.what,
            button=f"{name.capitalize()} it",
            is_calm=name == "pay",
            action=request.path,
            back=f"/invoices/{invoice.id}",
            key=None,
            invoices=[invoice],
            names=await self._find_names([invoice]),
            needs=act.needs,
        )

    @page("POST", "/invoices/{id}/{act}")
    async def do(self, request: web.Request) -> web.StreamResponse:
        """Pay, void or reverse an invoice."""
        invoice_id = path_id(request, InvoiceNotFound)
        _, act = _act_of(request)
        return await self._frame.act(
            request,
            await read_form(request),
            act.lane(self._features.invoices),
            act.makes(invoice_id, origin_of(request)),
            to=f"/invoices/{invoice_id}",
            tells=lambda invoice: f"Invoice {invoice.id} was {act.done}.",
        )

    @page("GET", "/invoices/marked/{act}")
    async def ask_marked(self, request: web.Request) -> web.StreamResponse:
        """Ask whether to pay, void or reverse the invoices that are marked in the list."""
        name, act = _act_of(request)
        ids = _read_marked(request.rel_url.query.getall(MARKED, []))
        lane = self._features.invoices.find
        found = await asyncio.gather(*map(lane.submit, ids))
        invoices = [invoice for invoice in found if invoice is not None]
        ready = [invoice for invoice in invoices if invoice.status == act.needs]
        money = self._frame.settings.money
        total = show_money(sum(invoice.amount for invoice in ready), money.decimals)
        return await self._frame.show(
            request,
            "console/invoice_confirm.html",
            place="invoices",
            title=f"{name.capitalize()} {_count(len(ready))}, {total} {money.currency} in all?"
            if ready
            else f"None of them is {act.needs}",
            what=act.what if ready else "Go back, and mark others.",
            button=f"{name.capitalize()} {_count(len(ready))}" if ready else None,
            is_calm=name == "pay",
            action=request.path,
            back="/invoices",
            key=None,
            invoices=invoices,
            names=await self._find_names(invoices),
            needs=act.needs,
        )

    @page("POST", "/invoices/marked/{act}")
    async def do_marked(self, request: web.Request) -> web.StreamResponse:
        """Pay, void or reverse marked invoices, each by itself."""
        _, act = _act_of(request)
        form = await read_form(request)
        origin = origin_of(request)
        ids = _read_marked(form.lists.get(MARKED, []))
        return await self._frame.act_on_all(
            request,
            form,
            act.lane(self._features.invoices),
            {invoice_id: act.makes(invoice_id, origin) for invoice_id in ids},
            to="/invoices",
            tells=lambda done: f"{_count(done)} {'was' if done == 1 else 'were'} {act.done}.",
        )


def _act_of(request: web.Request) -> tuple[str, Act]:
    """Return what the path asks for, by its name. Raises NotFound."""
    name = request.match_info["act"]
    if name not in ACTS:
        raise NotFound
    return name, ACTS[name]


def _read_marked(given: Sequence[str]) -> Sequence[int]:
    """Return the ids of marked invoices, in their order, each once. Raises InvalidRequest."""
    ids = [parse_integer(text) for text in given]
    known = sorted({each for each in ids if each is not None})
    if not known or None in ids:
        raise InvalidRequest("Go back to the list, and mark the invoices that you mean.")
    if len(known) > MOST_MARKED:
        raise InvalidRequest(f"Mark {MOST_MARKED} invoices at most.")
    return known


def _count(invoices: int) -> str:
    return f"{invoices} invoice{'' if invoices == 1 else 's'}"


def _facts(invoice: Invoice) -> Sequence[Step]:
    facts = [Step(invoice.created_at, "Issued", tells=("invoice.created",))]
    if invoice.paid_at is not None:
        facts.append(Step(invoice.paid_at, "Paid", tells=("invoice.paid",)))
    if invoice.voided_at is not None:
        facts.append(Step(invoice.voided_at, "Made void", tells=("invoice.voided",)))
    if invoice.reversed_at is not None:
        reversed_ = Step(invoice.reversed_at, "Reversed", "bad", tells=("invoice.reversed",))
        facts.append(reversed_)
    if invoice.status == "pending":
        facts.append(Step(None, "Waits to be paid", "waits"))
    return facts


def _line(invoice: Invoice) -> Sequence[str | int]:
    def show(at: datetime | None) -> str:
        return "" if at is None else at.isoformat().replace("+00:00", "Z")

    return (
        invoice.id,
        invoice.status,
        invoice.user_id,
        invoice.amount,
        invoice.label,
        invoice.reference or "",
        show(invoice.created_at),
        show(invoice.paid_at),
        show(invoice.voided_at),
        show(invoice.reversed_at),
    )
