"""What the acknowledged writes of a drill must have left: entries, balances and events."""

from collections import Counter
from collections.abc import Iterator

from rowlock.ops.drill.journal import Journal, Leg
from rowlock.ops.drill.snapshot import Happening, Snapshot
from rowlock.projects.rules import STATUSES
from rowlock.settings import Settings

OPENING_BALANCE = Settings().money.minor_units(Settings().benefits.opening_balance)


def entries(after: Snapshot, journal: Journal) -> Counter[tuple[int, str, int]]:
    """Return the ledger entries, by user, reference and amount.

    The amounts are those that clients were told. Whether an order was approved, only the database
    tells: the answer came before.
    """
    due: Counter[tuple[int, str, int]] = Counter()
    for username in journal.usernames & after.usernames.keys():
        user_id = after.usernames[username]
        due[user_id, f"user:{user_id}", OPENING_BALANCE] += 1
    approved = {f"order:{id_}" for id_, order in after.orders.items() if order.status == "approved"}
    for reference, legs in journal.legs.items():
        if reference.startswith("order:") and reference not in approved:
            continue
        for leg in legs:
            due[_id_of(leg, after), reference, leg.amount] += 1
    return due


def balance_problems(before: Snapshot, after: Snapshot, journal: Journal) -> Iterator[str]:
    """Yield which balances are not what was acknowledged.

    Where the outcome of a write is unknown, the balance may be with it or without it.
    """
    due = Counter(before.balances)
    for (user_id, _, amount), count in entries(after, journal).items():
        due[user_id] += amount * count
    lowest, highest = Counter(due), Counter(due)
    for leg in journal.doubts:
        bound = lowest if leg.amount < 0 else highest
        bound[_id_of(leg, after)] += leg.amount
    for user_id, balance in after.balances.items():
        if not lowest[user_id] <= balance <= highest[user_id]:
            most = f" to {highest[user_id]}" if highest[user_id] > lowest[user_id] else ""
            yield f"user {user_id}: {balance} instead of {lowest[user_id]}{most}"


def _id_of(leg: Leg, after: Snapshot) -> int:
    return leg.user if isinstance(leg.user, int) else after.usernames.get(leg.user, 0)


def events(after: Snapshot, journal: Journal) -> Counter[Happening]:
    """Return the events, but for project.url_assigned."""
    happened = [
        *((name, subject, "") for name, subject in journal.happened.elements()),
        *(("drill.posted", subject, "") for subject in journal.posted),
        *(
            ("user.created", f"user:{after.usernames[username]}", "")
            for username in journal.usernames & after.usernames.keys()
        ),
        *(("benefit_order.placed", f"order:{id_}", "") for id_ in journal.benefit_orders),
        *(("order.created", f"order:{id_}", "") for id_ in journal.orders),
        *(
            (f"order.{after.orders[id_].status}", f"order:{id_}", "")
            for id_ in journal.orders & after.orders.keys()
        ),
        *(("order.refunded", f"order:{id_}", "") for id_ in journal.refunded.elements()),
        *(("invoice.created", f"invoice:{id_}", "") for id_ in journal.invoices),
        *(("invoice.paid", f"invoice:{id_}", "") for id_ in journal.paid),
        *(("invoice.voided", f"invoice:{id_}", "") for id_ in journal.voided),
        *(("invoice.reversed", f"invoice:{id_}", "") for id_ in journal.reversed),
        *(("transfer.made", f"transfer:{id_}", "") for id_ in journal.transfers),
        *(("service_order.created", f"service_order:{id_}", "") for id_ in journal.bookings),
        *(
            ("service_order.updated", f"service_order:{id_}", "")
            for id_ in journal.changes.elements()
        ),
        *(("service_order.deleted", f"service_order:{id_}", "") for id_ in journal.deleted),
    ]
    moves = journal.moves | {(id_, "created") for id_ in journal.deployments}
    for deployment_id, status in moves:
        if deployment_id in after.deployments:
            project_id, _ = after.deployments[deployment_id]
            happened.append((f"deployment.{status}", f"project:{project_id}", str(deployment_id)))
    return Counter(happened)


def assigned(after: Snapshot, journal: Journal) -> Counter[str]:
    """Return the projects that a deployment has made live: the clients can't tell which."""
    live = {id_ for id_, status in journal.moves if status == "done"} & after.deployments.keys()
    return Counter({f"project:{after.deployments[id_][0]}" for id_ in live})


def deployment_states(journal: Journal) -> set[tuple[int, str]]:
    """Return for each deployment the furthest of the states that were acknowledged."""
    states = dict.fromkeys(journal.deployments, "pending")
    for deployment_id, status in sorted(journal.moves, key=lambda move: STATUSES.index(move[1])):
        states[deployment_id] = status
    return set(states.items())
