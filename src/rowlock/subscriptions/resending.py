"""Posting all deliveries again that were given up: a job, a page at a time."""

from rowlock.engine.database import Connection
from rowlock.engine.jobs import Job, Page, Turn
from rowlock.engine.statements import queries
from rowlock.rejections import Rejection
from rowlock.subscriptions.rules import Resend
from rowlock.subscriptions.transactions import Append, resend_deliveries

RESEND_ALL = "resend_deliveries"  # the kind of the job
PAGE = 500


def resending(append: Append) -> Turn:
    """Return what resends a page; `append` appends events to the log."""

    async def turn(connection: Connection, job: Job) -> Page:
        rows = await queries.subscriptions.page_failed(
            connection,
            subscription_id=job.wanted["subscription_id"],
            problem=job.wanted["problem"],
            after=int(job.place or 0),
            until=job.wanted["until"],
            page_size=PAGE,
        )
        commands = [Resend(row["id"], job.origin) for row in rows]
        outcomes = await resend_deliveries(append, connection, commands) if commands else []
        skipped = sum(isinstance(outcome, Rejection) for outcome in outcomes)
        place = str(rows[-1]["id"]) if len(rows) == PAGE else None
        return Page(len(outcomes) - skipped, skipped, place)

    return turn
