"""Who may call a service: holders of its bearer token, or of one that its Auth0 tenant issued.

Each request has an actor, in its Exchange: `token` for the service's own token, `auth0|SUB` for a
user of the tenant, `project:ID` for a webhook of that project. It is `anonymous` where the service
is open, and until a request has shown who it is from.

`/metrics` is for holders of ROWLOCK_METRICS_TOKEN, which opens nothing else; where there is none,
for those of the service's own token. A tenant's tokens don't open it. In production the metrics of
an open service are closed.
"""

import hashlib
import hmac
from collections.abc import Collection

from aiohttp import web

from rowlock.errors import Unauthorized
from rowlock.http.auth0 import Tenant
from rowlock.http.exchange import EXCHANGE, TOKEN
from rowlock.origin import Origin
from rowlock.settings import Settings

# What a load balancer and a reader of the documents may see without a token.
PUBLIC_PATHS = frozenset({"/", "/healthz", "/readyz", "/readyz/writes", "/openapi.json", "/docs"})
READING = frozenset({"GET", "HEAD", "OPTIONS"})
METRICS_PATH = "/metrics"  # its handler checks access itself: check_scraper
PROBE_PATHS = frozenset({"/healthz", "/readyz", METRICS_PATH})
OPERATOR_PATHS = PUBLIC_PATHS | {METRICS_PATH}

AUTH0 = "auth0|"  # before a subject that doesn't begin with it


class Access:
    """Who may call a service: any client, unless the service has a token."""

    def __init__(
        self, token: str | None, tenant: Tenant | None = None, paths: Collection[str] = ()
    ) -> None:
        """Let in those with `Authorization: Bearer <token>`.

        A `tenant`'s tokens are as good as `token`, within their scopes. Requests for `paths` are
        let in as they are: their handlers check access themselves.
        """
        self._token = token
        self._tenant = tenant
        self._open_paths = OPERATOR_PATHS.union(paths)

    def is_open(self, path: str) -> bool:
        """Tell whether requests for `path` are let in as they are."""
        return self._token is None or path in self._open_paths

    async def check(self, request: web.Request) -> str:
        """Return the actor of a request. Raises Unauthorized, and as Tenant.check does."""
        given = bearer(request.headers.get("Authorization", ""))
        assert self._token is not None  # otherwise all is open
        if is_secret(given, self._token):
            return TOKEN
        if self._tenant is None:
            raise Unauthorized
        subject = await self._tenant.check(given, writes=request.method not in READING)
        return AUTH0 + subject.removeprefix(AUTH0)


def origin_of(request: web.Request) -> Origin:
    """Return where a command of the request comes from, once its actor is known."""
    exchange = request[EXCHANGE]
    return Origin(exchange.request_id, exchange.actor)


def check_scraper(request: web.Request, own_token: str | None, settings: Settings) -> None:
    """Raise Unauthorized unless the request may see the metrics of a service with `own_token`."""
    token = settings.addresses.metrics_token or own_token
    if token is None:
        allowed = settings.env == "development"
    else:
        allowed = is_secret(bearer(request.headers.get("Authorization", "")), token)
    if not allowed:
        raise Unauthorized


def bearer(authorization: str) -> str:
    """Return what follows `Bearer` in the header; "" if it is something else."""
    scheme, _, given = authorization.partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


def is_secret(given: str, secret: str) -> bool:
    """Tell whether `given` is `secret`, in a time that depends on neither."""
    # Digests have equal lengths, whatever is given. surrogateescape: a header may carry any bytes.
    one, other = (
        hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest() for text in (given, secret)
    )
    return hmac.compare_digest(one, other)
