"""Issuing invoices: one by a form, or many by lines that are pasted."""

import csv
import io
from collections.abc import Sequence
from functools import partial
from typing import Any

import marshmallow
from aiohttp import web
from marshmallow import fields

from rowlock.console import Features
from rowlock.http.access import origin_of
from rowlock.http.fields import REFERENCE_LENGTH, QueryInteger, Text
from rowlock.invoices.rules import (
    AMOUNT_LIMIT,
    LABEL_LENGTH,
    CreateInvoice,
    CreateInvoices,
    Invoice,
)
from rowlock.pages.declaring import Pages, page
from rowlock.pages.fields import Amount
from rowlock.pages.forms import Form, load, read_form
from rowlock.pages.frames import MOST_TOLD, Frame
from rowlock.rejections import Rejection

MOST_LINES = 1000  # as many as the API takes at once
COLUMNS = ("user_id", "amount", "label", "reference")


class InvoiceForm(marshmallow.Schema):
    """An invoice to be issued."""

    user_id = QueryInteger(required=True, error_messages={"required": "Enter the id of a user."})
    label = Text(
        longest=LABEL_LENGTH, required=True, error_messages={"required": "Say what it is for."}
    )
    reference = Text(longest=REFERENCE_LENGTH, load_default=None)


class LinesForm(marshmallow.Schema):
    """Invoices to be issued, a line for each."""

    lines = fields.String(required=True, error_messages={"required": "Paste a line or more."})


LINES_FORM = LinesForm()


class InvoiceFormPages(Pages):
    """Forms that issue invoices."""

    def __init__(self, frame: Frame, features: Features) -> None:
        self._frame = frame
        self._features = features
        amount = Amount(
            frame.settings.money.decimals,
            maximum=AMOUNT_LIMIT,
            required=True,
            error_messages={"required": "Enter an amount."},
        )
        self._form = InvoiceForm.from_dict({"amount": amount})()

    @page("GET", "/invoices/new")
    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Ask for an invoice."""
        return await self._show(request, Form({"user_id": request.query.get("user", "")}, {}))

    @page("POST", "/invoices/new")
    async def issue(self, request: web.Request) -> web.StreamResponse:
        """Issue an invoice."""
        form = await read_form(request, self._form)
        if form.errors:
            return await self._show(request, form, status=400, key=form.key)
        return await self._frame.act(
            request,
            form,
            self._features.invoices.create,
            CreateInvoice(**form.values, origin=origin_of(request)),
            to=lambda invoice: f"/invoices/{invoice.id}",
            tells=lambda invoice: f"Invoice {invoice.id} was issued.",
            again=partial(self._show, request, form, 409),
        )

    async def _show(
        self,
        request: web.Request,
        form: Form,
        status: int = 200,
        problem: str = "",
        key: str | None = None,
    ) -> web.Response:
        return await self._frame.show(
            request,
            "console/invoice_new.html",
            status=status,
            place="invoices",
            title="New invoice",
            what="It is issued by this user, and pending until it is paid into the balance.",
            button="Issue",
            is_calm=True,
            action="/invoices/new",
            back="/invoices",
            key=key,
            form=form,
            problem=problem,
        )

    @page("GET", "/invoices/lines")
    async def ask_lines(self, request: web.Request) -> web.StreamResponse:
        """Ask for many invoices."""
        return await self._show_lines(request, Form({}, {}))

    @page("POST", "/invoices/lines")
    async def issue_lines(self, request: web.Request) -> web.StreamResponse:
        """Issue many invoices in one transaction; each may be refused by itself."""
        form = await read_form(request, LINES_FORM)
        rows: Sequence[dict[str, Any]] = []
        problems = dict(form.errors)
        if not problems:
            rows, problem = self._read_lines(form.values["lines"])
            problems = {"lines": problem} if problem else {}
        if problems:
            wrong = Form(form.given, form.lists, {}, problems)
            return await self._show_lines(request, wrong, status=400, key=form.key)
        origin = origin_of(request)
        return await self._frame.act(
            request,
            form,
            self._features.invoices.create_many,
            CreateInvoices(tuple(CreateInvoice(**row, origin=origin) for row in rows)),
            to="/invoices",
            tells=_tell,
        )

    def _read_lines(self, text: str) -> tuple[Sequence[dict[str, Any]], str]:
        """Return the invoices that lines name, or what is wrong with the first wrong line."""
        try:
            lines = [*csv.reader(io.StringIO(text, newline=""))]
        except csv.Error as error:
            return [], f"This is not CSV: {error}."
        rows = []
        for number, cells in enumerate(lines, start=1):
            if not cells or cells[: len(COLUMNS)] == [*COLUMNS[: len(cells)]]:
                continue  # an empty line, or the head
            if len(cells) > len(COLUMNS):
                return [], f"Line {number}: has more than {len(COLUMNS)} columns."
            values, errors = load(self._form, dict(zip(COLUMNS, cells, strict=False)))
            if errors:
                name, problem = next(iter(errors.items()))
                return [], f"Line {number}: {name}: {problem}"
            rows.append(dict(values))
        if not rows:
            return [], "Paste a line or more."
        if len(rows) > MOST_LINES:
            return [], f"Paste {MOST_LINES:,} lines at most: here are {len(rows):,}."
        return rows, ""

    async def _show_lines(
        self, request: web.Request, form: Form, *, status: int = 200, key: str | None = None
    ) -> web.StreamResponse:
        return await self._frame.show(
            request,
            "console/invoice_lines.html",
            status=status,
            place="invoices",
            title="Issue many invoices",
            what=f"As CSV, a line for each, {MOST_LINES:,} at most: the id of the user, the "
            "amount, what it is for, and perhaps a reference. A line that is refused stops no "
            "other.",
            button="Issue all",
            is_calm=True,
            action="/invoices/lines",
            back="/invoices",
            key=key,
            form=form,
        )


def _tell(outcomes: Sequence[Invoice | Rejection]) -> str:
    refused = [
        f"{place}: {outcome.message}"
        for place, outcome in enumerate(outcomes, start=1)
        if isinstance(outcome, Rejection)
    ]
    told = [f"Issued {len(outcomes) - len(refused):,} of {len(outcomes):,} invoices."]
    if refused:
        told += [f"{len(refused):,} refused, by their place among the lines:", *refused[:MOST_TOLD]]
    if len(refused) > MOST_TOLD:
        told.append("…")
    return " ".join(told)
