"""Documents that ledger entries name: where each one's page is, and the pages of small ones."""

from collections.abc import Sequence
from functools import partial

from aiohttp import web

from rowlock.accounts.rules import Document
from rowlock.console import Features, reads
from rowlock.console.stories import Step, read_log, tell
from rowlock.http.submit import find_by_path
from rowlock.pages.declaring import Pages, page
from rowlock.pages.frames import Frame
from rowlock.rejections import RefundNotFound, TransferNotFound

# Where the page of a document is, by the kind in its reference.
PLACES = {
    "order": "/orders",
    "refund": "/refunds",
    "invoice": "/invoices",
    "reversal": "/invoices",
    "transfer": "/transfers",
}


def path_of(reference: str) -> str | None:
    """Return the page of a document by its reference, such as `invoice:7`; None if it has none."""
    kind, _, number = reference.partition(":")
    return f"{PLACES[kind]}/{number}" if kind in PLACES else None


class DocumentPages(Pages):
    """Transfers, and refunds, which are a part of their order's page."""

    def __init__(self, frame: Frame, features: Features) -> None:
        self._frame = frame
        self._features = features

    @page("GET", "/transfers/{id}")
    async def show_transfer(self, request: web.Request) -> web.StreamResponse:
        """Show a transfer."""
        transfer = await find_by_path(request, self._features.transfers.find, TransferNotFound)
        main = self._features.main
        documents = [Document("transfer", transfer.id)]
        user_ids = [transfer.from_user_id, transfer.to_user_id]
        made: Sequence[Step] = [Step(transfer.created_at, "Made", tells=("transfer.made",))]
        log = await read_log(self._features, f"transfer:{transfer.id}")
        return await self._frame.show(
            request,
            "console/transfer.html",
            place="users",
            transfer=transfer,
            names=await main.read(partial(reads.find_usernames, user_ids=user_ids)),
            entries=await main.read(partial(reads.find_entries, documents=documents)),
            path_of=path_of,
            steps=tell(made, log),
            dispatched=log.dispatched if log else 0,
        )

    @page("GET", "/refunds/{id}")
    async def show_refund(self, request: web.Request) -> web.StreamResponse:
        """Lead on to the order that a refund belongs to."""
        refund = await find_by_path(request, self._features.refunds.find, RefundNotFound)
        return self._frame.redirect(f"/orders/{refund.order_id}")
