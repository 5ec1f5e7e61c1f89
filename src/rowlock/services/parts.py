"""What several services are built of."""

from collections.abc import Sequence

from rowlock.delivery.relay import Relay
from rowlock.delivery.retention import purge_dead_letters, purge_outbox
from rowlock.engine import leases, outbox
from rowlock.engine.database import Connection, Database
from rowlock.engine.lanes import Feature
from rowlock.engine.tasks import Task
from rowlock.engine.wakes import Wakes
from rowlock.events.transactions import append as append_here
from rowlock.http.metrics import Labelled, State
from rowlock.http.service import Context
from rowlock.keys import Keys
from rowlock.settings import Settings
from rowlock.settings.groups import BatchSettings
from rowlock.settings.names import ServiceName
from rowlock.subscriptions import Subscriptions


def open_keys(service: ServiceName, database: Database, batches: BatchSettings) -> Keys:
    """Return the API keys of a service, whose database this is."""
    # The events database has no outbox: it has the log itself.
    append = append_here if service == ServiceName.EVENTS else outbox.append
    return Keys(database, batches, service, append)


def open_subscriptions(database: Database, settings: Settings) -> Subscriptions:
    """Return the subscriptions, whose database this is."""
    return Subscriptions(database, settings.batches, settings.subscriptions, append_here)


def deliver(context: Context, wakes: Wakes, features: Sequence[Feature]) -> tuple[Task, ...]:
    """Return what delivers the events of a service that writes to the main database.

    Any of these services may be the only one that runs. The lease of the relay decides which of
    them delivers, so the commits of each wake the relays of all.
    """
    database, settings = context.database, context.settings
    appended = wakes.on(outbox.CHANNEL)
    for feature in features:
        feature.committed.leads_to(appended)
    return (
        Relay(database, settings, context.meter, appended).task,
        wakes.task,
        # The relay keeps the wake while this process leads.
        purge_outbox(database, settings, lambda: appended.is_kept),
        purge_dead_letters(database, settings),
    )


async def measure_outbox(connection: Connection, counted: int) -> State:
    """Measure what waits in the outbox, for /metrics; count so many rows of a kind at most."""
    row = await outbox.measure_backlog(connection, counted)
    state: dict[str, float | Labelled | Sequence[Labelled]] = {
        "outbox_events": row["outbox_events"],
        "outbox_age_s": row["outbox_age_s"],
        "kept_events": row["kept_events"],
        "dead_letters": row["dead_letters"],
        "losses": row["losses"],
    }
    leader = await leases.find_leader(connection, outbox.LEASE)
    if leader is not None and leader["is_held"]:
        labels = {"holder": leader["holder"], "epoch": str(leader["epoch"])}
        state["relay_leader"] = Labelled(leader["since"].timestamp(), labels)
    return state
