"""An asynchronous client of Rowlock's services: `docs/client.md` is its guide.

    async with Commerce("http://localhost:4000") as commerce:
        invoice = await commerce.invoices.create(user_id=1, amount=113_50, label="Work for May")
        await commerce.invoices.pay(invoice.id)

Calls are sent again where that is safe, within a deadline and a budget. They raise CallFailed, in
one of three kinds: Refused and Unavailable have had no effect, OutcomeUnknown may have had one.
"""

from rowlock.client.calls import Attempt, Caller, Options, Repeat
from rowlock.client.commerce import Commerce
from rowlock.client.declared import Pages
from rowlock.client.events import Events
from rowlock.client.failures import (
    Answer,
    CallFailed,
    OutcomeUnknown,
    Refused,
    Sent,
    Unavailable,
)
from rowlock.client.log_records import Event, NewEvent, Reset
from rowlock.client.projects import Projects
from rowlock.client.records import Line, NewInvoice
from rowlock.client.retries import Budget, Policy, until_known
from rowlock.client.shapes import KEEP, Keep
from rowlock.client.streams import Stream
from rowlock.client.webhooks import Webhook, WebhookRefused, verify

__all__ = [
    "KEEP",
    "Answer",
    "Attempt",
    "Budget",
    "CallFailed",
    "Caller",
    "Commerce",
    "Event",
    "Events",
    "Keep",
    "Line",
    "NewEvent",
    "NewInvoice",
    "Options",
    "OutcomeUnknown",
    "Pages",
    "Policy",
    "Projects",
    "Refused",
    "Repeat",
    "Reset",
    "Sent",
    "Stream",
    "Unavailable",
    "Webhook",
    "WebhookRefused",
    "until_known",
    "verify",
]
