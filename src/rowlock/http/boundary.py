"""The boundary around each route: it lets requests in, and gives each one an answer.

It is a function around each handler, not a middleware of aiohttp. Middlewares would add half of
what is done here to the cost of a request, and this function knows its route.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial, update_wrapper
from typing import NamedTuple

import structlog
from aiohttp import web
from multidict import istr

from rowlock.errors import (
    BodyTooLarge,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    RowlockError,
    ScopeMissing,
    Unauthorized,
)
from rowlock.http import request_ids
from rowlock.http.access import AUTHORIZATION, OPERATOR_PATHS, PROBE_PATHS, Access
from rowlock.http.addresses import LOCATION, Addresses
from rowlock.http.errors import ERROR_CODE, FIRST_ERROR, respond
from rowlock.http.exchange import EXCHANGE, Exchange
from rowlock.http.freshness import CACHE_CONTROL, wants_fresh
from rowlock.http.metrics import UNMATCHED, Metrics, RouteMetrics
from rowlock.http.origins import Origins
from rowlock.http.rates import NEVER_LIMITED, Rates
from rowlock.http.request_ids import request_id_of
from rowlock.http.routes import PAGES, Elsewhere, Handler, Route, add_to
from rowlock.http.service import Site
from rowlock.http.traces import TRACEPARENT, trace_of
from rowlock.http.turnstile import Turnstile
from rowlock.origin import FRESH, REQUEST
from rowlock.settings import Settings

OK = 200
READS = frozenset({"GET", "HEAD"})

# Of multidict's own kind, which knows its lower case.
REQUEST_ID = istr(request_ids.REQUEST_ID)

# Errors that aiohttp itself raises, as ours.
HTTP_ERRORS: dict[int, type[RowlockError]] = {
    404: NotFound,
    405: MethodNotAllowed,
    413: BodyTooLarge,
}

logger = structlog.get_logger(__name__)


class Passage(NamedTuple):
    """What the boundary knows about a route."""

    metrics: RouteMetrics
    is_probe: bool  # let in at once, however many requests wait
    is_open: bool  # to all callers; its handler may check access itself
    scope: str | None  # that an API key needs
    is_limited: bool  # by the limit on each client, where there is one
    is_quiet: bool  # not logged while it succeeds, as it is asked every few seconds
    takes_query: bool  # and checks it
    respond: Callable[[RowlockError, web.Request], web.Response]  # makes the answer for an error
    logged_path: str | None = None  # instead of the path that was asked for, which names a person


class Boundary:
    """The boundary around the routes of one service."""

    def __init__(
        self,
        *,
        settings: Settings,
        metrics: Metrics,
        turnstile: Turnstile,
        addresses: Addresses,
        origins: Origins,
        access: Access,
        rates: Rates,
        draining: asyncio.Event,
        site: Site | None = None,
    ) -> None:
        self._service = metrics.service
        self._limits = settings.http
        self._log_requests = settings.logs.log_requests
        self._metrics = metrics
        self._elsewhere = RouteMetrics(metrics, UNMATCHED, method=UNMATCHED)
        self._turnstile = turnstile
        self._addresses = addresses
        self._origins = origins
        self._access = access
        self._needs_token = access.needs_token
        self._rates = rates
        self._client_rate = rates.client_rate
        self._draining = draining
        self._site = site
        self._has_standbys = bool(settings.database.read_urls)
        self._private: list[tuple[str, str]] = []  # how paths begin that name persons; templates

    def serve(self, app: web.Application, routes: Iterable[Route]) -> None:
        """Let `app` answer all requests: those for `routes`, and those for none of them."""
        for route in routes:
            add_to(app, route, self._around(route))
        app.router.register_resource(Elsewhere(self._answer_elsewhere))

    def _around(self, route: Route) -> Handler:
        """Return the handler of `route` with the boundary around it."""
        endpoint = route.endpoint
        metrics = RouteMetrics(self._metrics, endpoint.template)
        passage = self._passage(
            endpoint.path, metrics, scope=route.scope, takes_query=endpoint.query is not None
        )
        if route.tag == PAGES and self._site is not None:
            passage = passage._replace(respond=self._site.respond)
        if endpoint.is_private:
            passage = passage._replace(logged_path=endpoint.template)
            self._private.append((endpoint.template.partition("{")[0], endpoint.template))
        return update_wrapper(partial(self._serve, passage, route.handler), route.handler)

    async def _answer_elsewhere(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for which there is no route."""
        passage = self._passage(request.rel_url.raw_path, self._elsewhere, takes_query=True)
        passage = passage._replace(is_probe=False, is_limited=True)  # no probe: a wrong method
        for beginning, template in self._private:
            if request.path.startswith(beginning):
                passage = passage._replace(logged_path=template)
        if self._origins.is_preflight(request):  # it carries no credentials
            passage = passage._replace(is_open=True, is_limited=False)
            return await self._serve(passage, self._origins.answer_preflight, request)
        if self._site is not None and self._site.covers(request.path):
            passage = passage._replace(is_open=True, respond=self._site.respond)
            return await self._serve(passage, self._site.elsewhere(_refuse), request)
        return await self._serve(passage, _refuse, request)

    def _passage(
        self, path: str, metrics: RouteMetrics, *, takes_query: bool, scope: str | None = None
    ) -> Passage:
        return Passage(
            metrics,
            is_probe=path in PROBE_PATHS,
            is_open=self._access.is_open(path),
            scope=scope,
            is_limited=path not in NEVER_LIMITED,
            is_quiet=path in OPERATOR_PATHS,
            takes_query=takes_query or path in OPERATOR_PATHS,
            respond=respond,
        )

    async def _serve(
        self, passage: Passage, handler: Handler, request: web.Request
    ) -> web.StreamResponse:
        """Let the request in, and return the answer of `handler` or of an error."""
        started = time.perf_counter()
        headers = request.headers
        exchange = Exchange(self._service, request_id_of(headers), self._limits)
        if TRACEPARENT in headers:
            exchange.trace = trace_of(request)
        request[EXCHANGE] = exchange
        REQUEST.set((self._service, exchange.request_id, exchange.trace))
        if self._has_standbys and CACHE_CONTROL in headers:
            FRESH.set(wants_fresh(request))
        try:
            if not (passage.is_probe or self._turnstile.lets_in()):
                await self._turnstile.wait()
            if request.method not in READS:
                self._origins.check(request)
            if not passage.is_open and (self._needs_token or AUTHORIZATION in headers):
                await self._check_access(passage, request, exchange)
            if self._client_rate or exchange.key is not None:
                self._count(passage, request, exchange)
            if "?" in request.raw_path and request.query_string and not passage.takes_query:
                raise InvalidRequest("This address takes no parameters.")
            response = await handler(request)
        except RowlockError as error:
            response = passage.respond(error, request)
        except web.HTTPException as error:
            response = _translate(error, request, passage)
        except Exception:
            path = passage.logged_path or request.path
            logger.exception("request_failed", method=request.method, path=path)
            response = passage.respond(InternalError(), request)
        finally:
            if exchange.share is not None:
                exchange.share.give_back()
        self._finish(passage, exchange, request, response, time.perf_counter() - started)
        return response

    async def _check_access(
        self, passage: Passage, request: web.Request, exchange: Exchange
    ) -> None:
        """Find out who sent the request. Raises as Access.check does.

        A refused request counts toward the client's limit, too: no client can try many tokens.
        """
        try:
            await self._access.check(request, exchange, passage.scope)
        except (Unauthorized, ScopeMissing):
            self._count(passage, request, exchange)
            raise

    def _count(self, passage: Passage, request: web.Request, exchange: Exchange) -> None:
        """Count the request toward the limit of its client. Raises TooManyRequests."""
        rate = self._client_rate
        if exchange.key is not None and exchange.key.rate is not None:
            rate = exchange.key.rate
        if rate and passage.is_limited:
            self._rates.count(request, exchange.actor, rate)

    def _finish(
        self,
        passage: Passage,
        exchange: Exchange,
        request: web.Request,
        response: web.StreamResponse,
        duration_s: float,
    ) -> None:
        """Complete the headers, count the answer, and log it."""
        headers = response.headers
        headers[REQUEST_ID] = exchange.request_id
        if LOCATION in headers:
            # A path until now: a kept answer may be replayed at another address.
            headers[LOCATION] = self._addresses.base(request) + headers[LOCATION]
        if isinstance(response, web.Response):  # a stream lasts as long as its client likes
            status = response.status
            passage.metrics.request(request.method, status, duration_s)
            if status >= FIRST_ERROR and ERROR_CODE in response:
                self._metrics.error(response[ERROR_CODE])
        if self._draining.is_set():
            response.force_close()  # the answer says so, and the client can connect elsewhere
        if self._log_requests:
            self._log(passage, request, response, duration_s)

    def _log(
        self,
        passage: Passage,
        request: web.Request,
        response: web.StreamResponse,
        duration_s: float,
    ) -> None:
        log = logger.debug if passage.is_quiet and response.status == OK else logger.info
        log(
            "request",
            method=request.method,
            path=passage.logged_path or request.path,
            status=response.status,
            duration_ms=round(duration_s * 1000, 2),
            actor=request[EXCHANGE].actor,
            client=self._addresses.client(request),
        )


async def _refuse(request: web.Request) -> web.StreamResponse:
    """Raise aiohttp's error for an unknown path, or for a method that the path does not take."""
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        if not isinstance(resource, Elsewhere):
            _, methods = await resource.resolve(request)
            allowed |= methods
    if allowed:
        raise web.HTTPMethodNotAllowed(request.method, allowed)
    raise web.HTTPNotFound


def _translate(error: web.HTTPException, request: web.Request, passage: Passage) -> web.Response:
    kind = HTTP_ERRORS.get(error.status, InvalidRequest)
    response = passage.respond(kind(), request)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response
