"""HTTP ↔ command: subscriptions and their deliveries."""

from datetime import timedelta

from aiohttp import web
from yarl import URL

from rowlock.http.access import origin_of
from rowlock.http.answers import no_content, reply
from rowlock.http.openapi.shapes import (
    AnswerShape,
    array,
    created,
)
from rowlock.http.paging import paginate
from rowlock.http.request import (
    EMPTY_BODY,
    path_id,
    read_body,
    read_empty_body,
    read_query,
)
from rowlock.http.routes import Routes, route
from rowlock.http.strict_json import invalid_request
from rowlock.http.submit import find_by_path, submit
from rowlock.rejections import (
    DeliveryNotFound,
    SubscriptionEnded,
    SubscriptionNotActive,
    SubscriptionNotFound,
    TooManySubscriptions,
)
from rowlock.subscriptions import Subscriptions
from rowlock.subscriptions.addresses import read_address, url_problem
from rowlock.subscriptions.bodies import (
    CHANGES_BODY,
    DELIVERIES_QUERY,
    DELIVERY,
    EXAMPLE_URL,
    NEW_SUBSCRIPTION,
    PAGE_QUERY,
    RECOVERY_BODY,
    SUBSCRIPTION,
    SUBSCRIPTION_BODY,
    show,
)
from rowlock.subscriptions.resolving import leads_inside
from rowlock.subscriptions.rules import (
    ChangeSubscription,
    CreateSubscription,
    DeleteSubscription,
    DeliveryRow,
    Disable,
    Enable,
    Recover,
    Resend,
    RotateSecret,
    SendTest,
    Subscription,
    new_secret,
)


class SubscriptionRoutes(Routes):
    """Webhooks: events that are posted to users' own systems.

    See docs/subscriptions.md for what is posted, and how to verify it.
    """

    tag = "subscriptions"

    def __init__(self, subscriptions: Subscriptions, *, https_only: bool) -> None:
        self._subscriptions = subscriptions
        self._settings = subscriptions.settings
        self._https_only = https_only

    @route(
        "POST",
        "/subscriptions",
        {201: created(NEW_SUBSCRIPTION, at="/subscriptions/1")},
        TooManySubscriptions,
        body=SUBSCRIPTION_BODY,
        example={"url": EXAMPLE_URL, "names": ["invoice.*"]},
    )
    async def create_subscription(self, request: web.Request) -> web.Response:
        """Create a subscription.

        The answer shows this once the `secret` that signs what is posted. Events from now on are
        posted to `url`. A name such as `invoice.*` stands for all that begin with `invoice.`, and
        `*` for all events.
        """
        body = await read_body(request, SUBSCRIPTION_BODY)
        await self._check(body["url"])
        command = CreateSubscription(**body, secret=new_secret(), origin=origin_of(request))

        def present(made: Subscription) -> web.Response:
            headers = {"Location": f"/subscriptions/{made.id}"}
            return reply(show(made) | {"secret": made.secret}, status=201, headers=headers)

        return await submit(request, self._subscriptions.create, command, present)

    async def _check(self, url: str) -> None:
        """Raise InvalidRequest if nothing may be posted there."""
        private = self._settings.webhooks_private
        problem = url_problem(url, private=private, https_only=self._https_only)
        if problem is None and not private:
            parsed = URL(url)
            host, port = parsed.raw_host or "", parsed.port or 0
            if read_address(host) is None and await leads_inside(host, port):
                problem = "Must not have a name with an address outside the public internet."
        if problem is not None:
            raise invalid_request([("url", [problem])])

    @route("GET", "/subscriptions", {200: array(SUBSCRIPTION)}, query=PAGE_QUERY)
    async def list_subscriptions(self, request: web.Request) -> web.Response:
        """List subscriptions, newest first."""
        query = read_query(request, PAGE_QUERY)
        limit = query["limit"]
        found = await self._subscriptions.list_page(before=query["before"], page_size=limit + 1)
        page, headers = paginate(request, found, limit, lambda each: str(each.id))
        return reply([show(each) for each in page], headers=headers)

    @route("GET", "/subscriptions/{id}", {200: SUBSCRIPTION}, SubscriptionNotFound)
    async def get_subscription(self, request: web.Request) -> web.Response:
        """Get a subscription, without its secret."""
        found = await find_by_path(request, self._subscriptions.find, SubscriptionNotFound)
        return reply(show(found))

    @route(
        "PATCH",
        "/subscriptions/{id}",
        {200: SUBSCRIPTION},
        SubscriptionNotFound,
        body=CHANGES_BODY,
        example={"names": ["invoice.*", "order.*"]},
    )
    async def change_subscription(self, request: web.Request) -> web.Response:
        """Change a subscription.

        What is being posted at the moment still goes to the old address.
        """
        id_ = path_id(request, SubscriptionNotFound)
        changes = await read_body(request, CHANGES_BODY)
        if "url" in changes:
            await self._check(changes["url"])
        command = ChangeSubscription(id_, changes, origin_of(request))
        return await submit(request, self._subscriptions.change, command, _reply)

    @route(
        "DELETE",
        "/subscriptions/{id}",
        {204: AnswerShape()},
        SubscriptionNotFound,
        body=EMPTY_BODY,
        example={},
    )
    async def delete_subscription(self, request: web.Request) -> web.Response:
        """Delete a subscription, with its deliveries."""
        command = DeleteSubscription(path_id(request, SubscriptionNotFound), origin_of(request))
        await read_empty_body(request)
        return await submit(request, self._subscriptions.delete, command, no_content)

    @route(
        "POST",
        "/subscriptions/{id}/rotate-secret",
        {200: NEW_SUBSCRIPTION},
        SubscriptionNotFound,
        body=EMPTY_BODY,
        example={},
    )
    async def rotate_secret(self, request: web.Request) -> web.Response:
        """Give a subscription a new secret.

        The answer shows it this once. For 24 hours, what is posted is signed with the old one, too.
        """
        id_ = path_id(request, SubscriptionNotFound)
        await read_empty_body(request)
        overlap = timedelta(seconds=self._settings.subscriptions_overlap_s)
        command = RotateSecret(id_, new_secret(), overlap, origin_of(request))
        return await submit(
            request,
            self._subscriptions.change,
            command,
            lambda changed: reply(show(changed) | {"secret": changed.secret}),
        )

    @route(
        "POST",
        "/subscriptions/{id}/test",
        {202: DELIVERY},
        SubscriptionNotFound,
        SubscriptionNotActive,
        body=EMPTY_BODY,
        example={},
    )
    async def test_subscription(self, request: web.Request) -> web.Response:
        """Post a test to a subscription.

        Its type is `subscription.test`. The list of deliveries shows what comes of it.
        """
        command = SendTest(path_id(request, SubscriptionNotFound), origin_of(request))
        await read_empty_body(request)
        return await submit(request, self._subscriptions.test, command, _accept)

    @route(
        "POST",
        "/subscriptions/{id}/enable",
        {200: SUBSCRIPTION},
        SubscriptionNotFound,
        SubscriptionEnded,
        body=EMPTY_BODY,
        example={},
    )
    async def enable_subscription(self, request: web.Request) -> web.Response:
        """Enable a subscription.

        Events from now on are posted. To post those that it has missed, recover it.
        """
        command = Enable(path_id(request, SubscriptionNotFound), origin_of(request))
        await read_empty_body(request)
        return await submit(request, self._subscriptions.change, command, _reply)

    @route(
        "POST",
        "/subscriptions/{id}/disable",
        {200: SUBSCRIPTION},
        SubscriptionNotFound,
        SubscriptionEnded,
        body=EMPTY_BODY,
        example={},
    )
    async def disable_subscription(self, request: web.Request) -> web.Response:
        """Disable a subscription.

        Nothing is posted until it is enabled. Deliveries that wait have failed.
        """
        command = Disable(path_id(request, SubscriptionNotFound), origin_of(request))
        await read_empty_body(request)
        return await submit(request, self._subscriptions.change, command, _reply)

    @route(
        "POST",
        "/subscriptions/{id}/recover",
        {202: SUBSCRIPTION},
        SubscriptionNotFound,
        SubscriptionNotActive,
        body=RECOVERY_BODY,
        example={"since": "2026-11-21T09:30:00Z"},
    )
    async def recover_subscription(self, request: web.Request) -> web.Response:
        """Post the events since a time once more.

        All that match and are kept are posted, those that were delivered included.
        """
        id_ = path_id(request, SubscriptionNotFound)
        body = await read_body(request, RECOVERY_BODY)
        command = Recover(id_, body["since"], origin_of(request))
        return await submit(
            request,
            self._subscriptions.change,
            command,
            lambda changed: reply(show(changed), status=202),
        )

    @route(
        "GET",
        "/subscriptions/{id}/deliveries",
        {200: array(DELIVERY)},
        SubscriptionNotFound,
        query=DELIVERIES_QUERY,
    )
    async def list_deliveries(self, request: web.Request) -> web.Response:
        """List a subscription's deliveries, newest first.

        Of those that succeeded, the last 1,000 are kept; those that failed for 30 days.
        """
        query = read_query(request, DELIVERIES_QUERY)
        found = await find_by_path(request, self._subscriptions.find, SubscriptionNotFound)
        limit = query["limit"]
        deliveries = await self._subscriptions.list_deliveries(
            found.id, status=query["status"], before=query["before"], page_size=limit + 1
        )
        page, headers = paginate(request, deliveries, limit, lambda each: str(each.id))
        return reply([each._asdict() for each in page], headers=headers)

    @route(
        "POST",
        "/deliveries/{id}/resend",
        {202: DELIVERY},
        DeliveryNotFound,
        SubscriptionNotActive,
        body=EMPTY_BODY,
        example={},
    )
    async def resend_delivery(self, request: web.Request) -> web.Response:
        """Post a delivery again, whatever came of it."""
        command = Resend(path_id(request, DeliveryNotFound), origin_of(request))
        await read_empty_body(request)
        return await submit(request, self._subscriptions.resend, command, _accept)


def _reply(changed: Subscription) -> web.Response:
    return reply(show(changed))


def _accept(delivery: DeliveryRow) -> web.Response:
    return reply(delivery._asdict(), status=202)
