"""Who may call a service: holders of its token, of its API keys, or of its Auth0 tenant's tokens.

Each request has an actor, in its Exchange: `token` for the service's own token, `key:NAME` for an
API key, `auth0|SUB` for a user of the tenant, `project:ID` for a webhook of that project. It is
`anonymous` where the service is open, and until a request has shown who it is from.

A service without a token is open. An API key that is sent to it must be valid all the same, and may
do no more than its scopes say.

`/metrics` is for holders of ROWLOCK_METRICS_TOKEN, which opens nothing else; where there is none,
for those of the service's own token. Keys and a tenant's tokens don't open it. In production the
metrics of an open service are closed. So are its keys, unless it is in development and listens on a
loopback address.
"""

import asyncio
import hashlib
import hmac
import re
from collections.abc import Collection

from aiohttp import web
from multidict import istr

from rowlock.errors import ScopeMissing, Unauthorized, Unavailable
from rowlock.http.addresses import Addresses
from rowlock.http.auth0 import Tenant
from rowlock.http.exchange import ANONYMOUS, EXCHANGE, TOKEN, Exchange
from rowlock.http.guesses import Guesses
from rowlock.http.keyring import Keyring
from rowlock.http.service import SETTINGS
from rowlock.origin import Origin
from rowlock.settings import Settings

# What a load balancer and a reader of the documents may see without a token.
PUBLIC_PATHS = frozenset({"/", "/healthz", "/readyz", "/readyz/writes", "/openapi.json", "/docs"})
READING = frozenset({"GET", "HEAD", "OPTIONS"})
METRICS_PATH = "/metrics"  # its handler checks access itself: check_scraper
PROBE_PATHS = frozenset({"/healthz", "/readyz", METRICS_PATH})
OPERATOR_PATHS = PUBLIC_PATHS | {METRICS_PATH}

AUTHORIZATION = istr("Authorization")
AUTH0 = "auth0|"  # before a subject that doesn't begin with it
KEY_PREFIX = "rk_"  # how API keys begin
API_KEY = re.compile(r"rk_[0-9a-f]{64}")  # anything else is no key: no database is asked
MANAGES_KEYS = "keys:write"  # the scope that no setting gives: a token must name it
RECHECK_S = 2.0  # how often a key is looked up again whose stream goes on


class Access:
    """Who may call a service: any client, unless the service has a token."""

    def __init__(
        self,
        token: str | None,
        keyring: Keyring,
        addresses: Addresses,
        tenant: Tenant | None = None,
        paths: Collection[str] = (),
    ) -> None:
        """Let in those with `Authorization: Bearer <token>`, and those with a key of `keyring`.

        A `tenant`'s tokens are as good as `token`, within their scopes. Requests for `paths` are
        let in as they are: their handlers check access themselves.
        """
        self.needs_token = token is not None
        self._digest = None if token is None else sha256(token)
        self._keyring = keyring
        self._guesses = Guesses(keyring, addresses)
        self._tenant = tenant
        self._open_paths = OPERATOR_PATHS.union(paths)

    def is_open(self, path: str) -> bool:
        """Tell whether requests for `path` are let in as they are, whatever they come with."""
        return path in self._open_paths

    async def check(self, request: web.Request, exchange: Exchange, scope: str | None) -> None:
        """Find out who a request is from, that needs `scope`, and note it in `exchange`.

        Raises Unauthorized, ScopeMissing, and as Guesses.find and Tenant.check do.
        """
        given = bearer(request.headers.get(AUTHORIZATION, ""))
        digest = sha256(given)
        # Digests have equal lengths, whatever is given.
        if self._digest is not None and hmac.compare_digest(digest, self._digest):
            exchange.actor = TOKEN
            return
        if given.startswith(KEY_PREFIX):
            key = self._keyring.known(digest)
            if key is None and API_KEY.fullmatch(given):
                key = await self._guesses.find(request, digest)
            if key is None:
                raise Unauthorized
            exchange.actor, exchange.key = f"key:{key.name}", key
            if scope is not None and scope not in key.scopes:
                raise ScopeMissing(f"The API key lacks the scope {scope}.", scope=scope)
            return
        if self._digest is None:
            return
        if self._tenant is None:
            raise Unauthorized
        subject = await self._tenant.check(
            given,
            writes=request.method not in READING,
            scope=MANAGES_KEYS if scope == MANAGES_KEYS else None,
        )
        exchange.actor = AUTH0 + subject.removeprefix(AUTH0)

    async def until_refused(self, exchange: Exchange) -> None:
        """Return once the API key of a request is valid no more. Never, if it has none."""
        key = exchange.key
        if key is None:
            await asyncio.Event().wait()
        while key is not None:
            await asyncio.sleep(RECHECK_S)
            try:
                key = self._keyring.known(key.hash) or await self._keyring.find(key.hash)
            except Unavailable:
                return  # the client comes back, and is let in if the key is valid then


ACCESS = web.AppKey("access", Access)


def origin_of(request: web.Request) -> Origin:
    """Return where a command of the request comes from, once its actor is known."""
    exchange = request[EXCHANGE]
    trace = exchange.trace
    return Origin(exchange.request_id, exchange.actor, trace and trace.traceparent)


async def until_refused(request: web.Request) -> None:
    """Return once a request that goes on, such as a stream, is one that would be refused."""
    await request.app[ACCESS].until_refused(request[EXCHANGE])


def check_scraper(request: web.Request, own_token: str | None, settings: Settings) -> None:
    """Raise Unauthorized unless the request may see the metrics of a service with `own_token`."""
    token = settings.addresses.metrics_token or own_token
    if token is None:
        allowed = settings.env == "development"
    else:
        allowed = is_secret(bearer(request.headers.get(AUTHORIZATION, "")), token)
    if not allowed:
        raise Unauthorized


def check_key_manager(request: web.Request) -> None:
    """Raise Unauthorized if the caller is anonymous, unless this is a developer's own machine."""
    settings = request.app[SETTINGS]
    if request[EXCHANGE].actor == ANONYMOUS and not settings.is_own_machine:
        raise Unauthorized


def bearer(authorization: str) -> str:
    """Return what follows `Bearer` in the header; "" if it is something else."""
    scheme, _, given = authorization.partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


def is_secret(given: str, secret: str) -> bool:
    """Tell whether `given` is `secret`, in a time that depends on neither."""
    # Digests have equal lengths, whatever is given.
    return hmac.compare_digest(sha256(given), sha256(secret))


def sha256(text: str) -> bytes:
    """Return the SHA-256 of a text from a header, which may carry any bytes."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
