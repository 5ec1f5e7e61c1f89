"""Who may call a service: holders of its bearer token, or of one that its Auth0 tenant issued.

Each request has an actor, in ACTOR: `token` for the service's own token, `auth0|SUB` for a user of
the tenant, `project:ID` for a webhook of that project. It is `anonymous` where the service is open,
and until a request has shown who it is from.

`/metrics` is for holders of ROWLOCK_METRICS_TOKEN, which opens nothing else; where there is none,
for those of the service's own token. A tenant's tokens don't open it. In production the metrics of
an open service are closed.
"""

import hashlib
import hmac
from collections.abc import Collection

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from rowlock.errors import Unauthorized
from rowlock.http.auth0 import Tenant
from rowlock.http.request_ids import REQUEST_ID_KEY
from rowlock.origin import Origin
from rowlock.settings import Settings

# What a load balancer and a reader of the documents may see without a token.
PUBLIC_PATHS = frozenset({"/healthz", "/readyz", "/readyz/writes", "/openapi.json", "/docs"})
READING = frozenset({"GET", "HEAD", "OPTIONS"})
METRICS_PATH = "/metrics"  # its handler checks access itself: check_scraper
PROBE_PATHS = frozenset({"/healthz", "/readyz", METRICS_PATH})
OPERATOR_PATHS = PUBLIC_PATHS | {METRICS_PATH}

ACTOR = web.RequestKey("actor", str)
TOKEN, ANONYMOUS = "token", "anonymous"
AUTH0 = "auth0|"  # before a subject that doesn't begin with it


def bearer_token(
    token: str, tenant: Tenant | None = None, paths: Collection[str] = ()
) -> Middleware:
    """Return the middleware that lets in only requests with `Authorization: Bearer <token>`.

    A `tenant`'s tokens are as good as `token`, within their scopes. Requests for `paths` are let in
    as they are: their handlers check access themselves.
    """
    open_paths = OPERATOR_PATHS.union(paths)

    @web.middleware
    async def access(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.rel_url.raw_path not in open_paths:
            given = bearer(request.headers.get("Authorization", ""))
            if is_secret(given, token):
                request[ACTOR] = TOKEN
            elif tenant is None:
                raise Unauthorized
            else:
                subject = await tenant.check(given, writes=request.method not in READING)
                request[ACTOR] = AUTH0 + subject.removeprefix(AUTH0)
        return await handler(request)

    return access


def origin_of(request: web.Request) -> Origin:
    """Return where a command of the request comes from, once its actor is known."""
    return Origin(request[REQUEST_ID_KEY], request[ACTOR])


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
