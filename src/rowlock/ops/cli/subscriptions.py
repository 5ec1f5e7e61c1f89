"""`rowlock subscriptions`: webhooks to users' own systems, as the routes manage them, too."""

from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import typer
from yarl import URL

from rowlock.errors import StartRefused
from rowlock.ops.cli.common import (
    console,
    databases,
    parse_duration,
    prepare,
    print_table,
    show_secret,
    with_database,
)
from rowlock.origin import CLI
from rowlock.rejections import Rejection, SubscriptionNotFound
from rowlock.settings import Settings
from rowlock.settings.names import DatabaseName
from rowlock.subscriptions import Subscriptions
from rowlock.subscriptions.addresses import read_address, url_problem
from rowlock.subscriptions.rules import (
    DELIVERY_STATUSES,
    MOST_NAMES,
    CreateSubscription,
    DeleteSubscription,
    Disable,
    Enable,
    Recover,
    Resend,
    RotateSecret,
    SendTest,
    Subscription,
    is_pattern,
    new_secret,
)

Result = TypeVar("Result")

PAGE = 1000
BEYOND = 2**63 - 1
TIME = "%Y-%m-%d %H:%M:%S"

app = typer.Typer(help="Subscriptions: webhooks to users' own systems.", no_args_is_help=True)

Id = Annotated[int, typer.Argument(min=1, help="The subscription's id.")]


@app.command("list")
def subscriptions_list() -> None:
    """List the subscriptions, newest first. Queries of URLs are left out."""
    rows = [
        (
            str(each.id),
            _without_query(each.url),
            " ".join(each.names),
            each.status,
            each.reason or each.last_problem or "",
            str(each.delivered),
            str(each.failed),
        )
        for each in _run(_list)
    ]
    headers = ("id", "url", "names", "status", "problem", "delivered", "failed")
    print_table(headers, rows)


@app.command("create")
def subscriptions_create(
    url: Annotated[str, typer.Argument(help="Where events are posted.")],
    name: Annotated[
        list[str], typer.Option(help="Of events, such as invoice.paid or invoice.*; repeatable.")
    ],
    subject: Annotated[
        str | None, typer.Option(help="Only events of this subject, such as invoice:7.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="For people.")] = None,
) -> None:
    """Create a subscription, and show its secret, once."""
    settings = Settings.from_environment()
    private = settings.subscriptions.webhooks_private
    problem = url_problem(url, private=private, https_only=settings.env == "production")
    if problem is not None:
        raise StartRefused(f"The URL can't be used. {problem}")
    names = list(dict.fromkeys(name))
    for each in names:
        if not is_pattern(each):
            raise StartRefused(f"{each!r} is neither a name of events, nor invoice.*, nor *.")
    if len(names) > MOST_NAMES:
        raise StartRefused(f"A subscription has at most {MOST_NAMES} names.")
    command = CreateSubscription(url, names, new_secret(), subject, description, CLI)

    async def create(subscriptions: Subscriptions) -> Subscription | Rejection:
        # Imported here, as the other commands start faster without HTTP.
        from rowlock.subscriptions.resolving import leads_inside  # noqa: PLC0415

        parsed = URL(url)
        host = parsed.raw_host or ""
        is_name = read_address(host) is None and not private
        if is_name and await leads_inside(host, parsed.port or 0):
            raise StartRefused("The URL's name has an address outside the public internet.")
        return await subscriptions.create.submit(command)

    made = _run(create)
    show_secret(f"Subscription {made.id} created.", made.secret)


@app.command("show")
def subscriptions_show(id_: Id) -> None:
    """Show a subscription."""
    found = _run(lambda subscriptions: _find(subscriptions, id_))
    rows = [
        ("id", str(found.id)),
        ("url", _without_query(found.url)),
        ("names", " ".join(found.names)),
        ("subject", found.subject or ""),
        ("description", found.description or ""),
        ("status", found.status),
        ("reason", found.reason or ""),
        ("delivered", str(found.delivered)),
        ("failed", str(found.failed)),
        ("failing since", _show_time(found.failing_since)),
        ("last problem", found.last_problem or ""),
        ("recovers since", _show_time(found.recover_since)),
        ("old secret until", _show_time(found.old_secret_until)),
        ("created", _show_time(found.created_at)),
        ("by", found.created_by),
    ]
    print_table(("", ""), rows)


@app.command("enable")
def subscriptions_enable(id_: Id) -> None:
    """Post events again, from now on."""
    _run(lambda subscriptions: subscriptions.change.submit(Enable(id_, CLI)))
    console.print(f"Subscription {id_} enabled.")


@app.command("disable")
def subscriptions_disable(id_: Id) -> None:
    """Post nothing until the subscription is enabled. Deliveries that wait have failed."""
    _run(lambda subscriptions: subscriptions.change.submit(Disable(id_, CLI)))
    console.print(f"Subscription {id_} disabled.")


@app.command("delete")
def subscriptions_delete(id_: Id) -> None:
    """Delete a subscription, with its deliveries."""
    _run(lambda subscriptions: subscriptions.delete.submit(DeleteSubscription(id_, CLI)))
    console.print(f"Subscription {id_} deleted.")


@app.command("rotate")
def subscriptions_rotate(
    id_: Id,
    overlap: Annotated[
        str, typer.Option(metavar="TIME", help="How long the old secret signs, too.")
    ] = "24h",
) -> None:
    """Give a subscription a new secret, and show it, once."""
    command = RotateSecret(id_, new_secret(), parse_duration(overlap), CLI)
    changed = _run(lambda subscriptions: subscriptions.change.submit(command))
    show_secret(f"Subscription {id_} rotated.", changed.secret)


@app.command("recover")
def subscriptions_recover(
    id_: Id,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="How long ago the first of them was, such as 2h.")
    ],
) -> None:
    """Post the events of the last while once more."""
    start = datetime.now(UTC) - _at_most(parse_duration(since))
    command = Recover(id_, start, CLI)
    changed = _run(lambda subscriptions: subscriptions.change.submit(command))
    what = "nothing to recover" if changed.recover_since is None else "recovering"
    console.print(f"Subscription {id_}: {what} since {_show_time(start)} UTC.")


@app.command("test")
def subscriptions_test(id_: Id) -> None:
    """Post a test."""
    asked = _run(lambda subscriptions: subscriptions.test.submit(SendTest(id_, CLI)))
    console.print(f"Delivery {asked.id} is a test.")


@app.command("deliveries")
def subscriptions_deliveries(
    id_: Id,
    status: Annotated[
        str | None, typer.Option(help=f"Only those: {', '.join(DELIVERY_STATUSES)}.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=PAGE, help="At most so many.")] = 20,
) -> None:
    """List a subscription's deliveries, newest first."""
    if status is not None and status not in DELIVERY_STATUSES:
        raise StartRefused(f"--status is one of {', '.join(DELIVERY_STATUSES)}.")

    async def find(subscriptions: Subscriptions) -> Sequence[tuple[str, ...]]:
        await _find(subscriptions, id_)
        found = await subscriptions.list_deliveries(
            id_, status=status, before=BEYOND, page_size=limit
        )
        return [
            (
                str(each.id),
                "" if each.event_id is None else str(each.event_id),
                each.name,
                each.status,
                str(each.attempts),
                each.problem or "",
                _show_time(each.due_at or each.finished_at),
            )
            for each in found
        ]

    headers = ("id", "event", "name", "status", "attempts", "problem", "due or finished")
    print_table(headers, _run(find))


@app.command("resend")
def subscriptions_resend(
    delivery: Annotated[int, typer.Argument(min=1, help="The delivery's id.")],
) -> None:
    """Post a delivery again, whatever came of it."""
    _run(lambda subscriptions: subscriptions.resend.submit(Resend(delivery, CLI)))
    console.print(f"Delivery {delivery} is posted again.")


def _run(work: Callable[[Subscriptions], Coroutine[Any, Any, Result | Rejection]]) -> Result:
    """Return what `work` does with the subscriptions. Raises what it is refused for."""
    # As above.
    from rowlock.services import open_subscriptions  # noqa: PLC0415

    settings = Settings.from_environment()
    with databases(settings) as urls:
        url = urls[DatabaseName.EVENTS]
        prepare(settings, {DatabaseName.EVENTS: url})
        outcome = with_database(
            settings, url, lambda database: work(open_subscriptions(database, settings))
        )
    if isinstance(outcome, Rejection):
        raise outcome
    return outcome


async def _list(subscriptions: Subscriptions) -> Sequence[Subscription]:
    return await subscriptions.list_page(before=BEYOND, page_size=PAGE)


async def _find(subscriptions: Subscriptions, id_: int) -> Subscription:
    found = await subscriptions.find.submit(id_)
    if found is None:
        raise SubscriptionNotFound.of(id_)
    return found


def _at_most(length: timedelta) -> timedelta:
    return min(length, timedelta(days=36_500))


def _show_time(time: datetime | None) -> str:
    return "" if time is None else f"{time.astimezone(UTC):{TIME}}"


def _without_query(url: str) -> str:
    """Return a URL without what may be a credential in it."""
    before, mark, _query = url.partition("?")
    return before + ("?…" if mark else "")
