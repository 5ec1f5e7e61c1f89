"""Pages of other origins: what they may do, and what the browser lets them see of it (CORS).

A browser sends the writes of any page, such as a form's. It marks them by Sec-Fetch-Site and
Origin, which pages can't forge. Other clients send neither, and pass.
"""

from collections.abc import Collection, Iterable

from aiohttp import web

from rowlock.errors import CrossSiteRequest
from rowlock.http.addresses import LOCATION, Addresses
from rowlock.http.answers import head
from rowlock.http.etags import ETAG
from rowlock.http.freshness import CACHE_CONTROL
from rowlock.http.request_ids import REQUEST_ID
from rowlock.http.routes import Endpoint
from rowlock.http.submit import IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED
from rowlock.http.traces import TRACEPARENT

ORIGIN = "Origin"
SITE = "Sec-Fetch-Site"
OWN_SITES = frozenset({"same-origin", "none"})  # none: the user's own doing, such as a bookmark
ASKS_FOR = "Access-Control-Request-Method"  # makes OPTIONS a preflight

# What scripts may read of an answer, besides its body. A test holds the documents to it.
EXPOSED = [REQUEST_ID, LOCATION, "Link", ETAG, IDEMPOTENCY_REPLAYED]
EXPOSED += ["Retry-After", "RateLimit", "RateLimit-Policy", "WWW-Authenticate", "Allow"]
PREFLIGHT_S = "3600"  # how long a browser may remember the answer to a preflight


class Origins:
    """The origins whose pages may use a service."""

    def __init__(
        self, allowed: Collection[str], addresses: Addresses, endpoints: Iterable[Endpoint]
    ) -> None:
        self._allowed = frozenset(allowed)
        self._addresses = addresses
        methods = {"HEAD"}
        headers = {
            "Authorization",
            CACHE_CONTROL,
            "Content-Type",
            IDEMPOTENCY_KEY,
            REQUEST_ID,
            TRACEPARENT,
        }
        for endpoint in endpoints:
            methods.add(endpoint.method)
            headers.update(endpoint.headers)
        self._preflight = {
            "Access-Control-Allow-Methods": ", ".join(sorted(methods)),
            "Access-Control-Allow-Headers": ", ".join(sorted(headers)),
            "Access-Control-Max-Age": PREFLIGHT_S,
        }

    def serve(self, app: web.Application) -> None:
        """Let the answers of `app` say what the pages may read."""
        if self._allowed:
            app.on_response_prepare.append(self._let_read)

    def check(self, request: web.Request) -> None:
        """Raise CrossSiteRequest for a write or a preflight of a page that may not do it.

        GET and HEAD are not asked about, unless they are about to change something.

        It goes before access control: a preflight carries no credentials.
        """
        headers = request.headers
        if SITE not in headers and ORIGIN not in headers:
            return  # not of a browser
        is_asked = request.method != "OPTIONS" or ASKS_FOR in headers
        if is_asked and self._is_foreign(request):
            raise CrossSiteRequest

    def is_preflight(self, request: web.Request) -> bool:
        """Tell whether a browser asks what a page of an origin that is allowed may do."""
        is_preflight = request.method == "OPTIONS" and ASKS_FOR in request.headers
        return is_preflight and self._allows(request)

    async def answer_preflight(self, _: web.Request) -> web.StreamResponse:
        """Answer a preflight: say what the page may do."""
        return web.Response(status=204, headers=head(self._preflight))

    def _allows(self, request: web.Request) -> bool:
        return request.headers.get(ORIGIN) in self._allowed

    def _is_foreign(self, request: web.Request) -> bool:
        """Tell whether a page of another origin, which is not allowed, has made the request."""
        site = request.headers.get(SITE)
        origin = request.headers.get(ORIGIN)
        if site:
            return site not in OWN_SITES and origin not in self._allowed
        if not origin or origin in self._allowed:
            return False
        return not self._is_here(origin, request)

    def is_own(self, request: web.Request) -> bool:
        """Tell whether a page of this very service has made the request: a browser says so."""
        site = request.headers.get(SITE)
        if site:
            return site == "same-origin"
        origin = request.headers.get(ORIGIN)
        return origin is not None and self._is_here(origin, request)

    def _is_here(self, origin: str, request: web.Request) -> bool:
        # An older browser, or one that came by plain http. The scheme is not compared: it may be
        # that of a proxy.
        authority = origin.partition("://")[2]
        if authority and authority == request.headers.get("Host", "").lower():
            return True
        base = self._addresses.base(request).lower()
        return origin == "/".join(base.split("/")[:3])

    async def _let_read(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.add("Vary", ORIGIN)
        if self._allows(request):
            response.headers["Access-Control-Allow-Origin"] = request.headers[ORIGIN]
            response.headers["Access-Control-Expose-Headers"] = ", ".join(EXPOSED)


ORIGINS = web.AppKey("origins", Origins)


def check_origin(request: web.Request) -> None:
    """Raise CrossSiteRequest if a GET that is about to change something is a foreign page's."""
    request.app[ORIGINS].check(request)
