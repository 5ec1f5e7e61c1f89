"""Tokens of an Auth0 tenant: RS256 JWTs, verified with the keys that the tenant publishes.

https://auth0.com/docs/secure/tokens/access-tokens/validate-access-tokens
"""

import asyncio
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import aiohttp
import jwt
import orjson
import structlog

from rowlock.errors import ScopeMissing, SigningKeysUnavailable, Unauthorized
from rowlock.http.outbound import Outbound
from rowlock.settings.groups import Auth0Settings

ALGORITHM = "RS256"
LEAST_KEY_BITS = 2048
KEYS_OF_TENANT = "keys of the tenant"
REQUIRED_CLAIMS = ["exp", "iss", "aud", "sub"]
SUBJECT = re.compile(r"[ -~]{1,255}")  # as OpenID Connect has it

logger = structlog.get_logger(__name__)


class Tenant:
    """An Auth0 tenant, whose keys are fetched when they are first needed."""

    def __init__(
        self, domain: str, audience: str, settings: Auth0Settings, outbound: Outbound
    ) -> None:
        self._issuer = f"https://{domain}/"
        self._audience = audience
        self._outbound = outbound
        base = settings.auth0_url or f"https://{domain}"
        self._keys_url = base.rstrip("/") + "/.well-known/jwks.json"
        self._settings = settings
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetching = asyncio.Lock()
        self._fetched = 0.0  # when, by the loop's clock
        self._not_before = 0.0  # earliest time of another fetch, by the same clock
        self._reachable = True

    @classmethod
    def of(cls, settings: Auth0Settings, outbound: Outbound) -> "Tenant | None":
        """Return the tenant that `settings` name, if any."""
        if settings.auth0_domain is None or settings.auth0_audience is None:
            return None
        return cls(settings.auth0_domain, settings.auth0_audience, settings, outbound)

    async def check(self, token: str, *, writes: bool, scope: str | None = None) -> str:
        """Return the subject of `token`: 1 to 255 printable ASCII characters.

        The token is valid, issued by this tenant for our audience, and may do this. That needs
        `scope`, if there is one, besides what the settings say.

        Raises Unauthorized if it is not valid, ScopeMissing if it may not, and
        SigningKeysUnavailable if the key to verify it can't be fetched.
        """
        key_id = _key_id(token)
        key = None if key_id is None else await self._find_key(key_id)
        if key is None:
            raise Unauthorized
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self._audience,
                issuer=self._issuer,
                # The time of issue says nothing about validity, and the clocks may differ.
                options={"require": REQUIRED_CLAIMS, "verify_iat": False},
            )
        except (jwt.PyJWTError, ValueError):
            raise Unauthorized from None
        subject: str = claims["sub"]  # PyJWT has seen to it that this is text
        if not SUBJECT.fullmatch(subject):
            raise Unauthorized
        settings = self._settings
        usual = settings.auth0_write_scope if writes else settings.auth0_read_scope
        for needed in (usual, scope):
            if needed is not None and needed not in _scopes(claims):
                raise ScopeMissing(scope=needed)
        return subject

    async def _find_key(self, key_id: str) -> jwt.PyJWK | None:
        """Return the key, or None. A key that is known is returned at once."""
        if key_id in self._keys:
            if self._needs_fetch(key_id):
                self._outbound.later(KEYS_OF_TENANT, partial(self._refetch, key_id))
            return self._keys[key_id]
        if self._needs_fetch(key_id):
            await self._refetch(key_id)
        if key_id not in self._keys and not self._reachable:
            raise SigningKeysUnavailable
        return self._keys.get(key_id)

    async def _refetch(self, key_id: str) -> None:
        async with self._fetching:
            # Another request may have fetched the keys while this one waited.
            if self._needs_fetch(key_id):
                await self._fetch()

    def _needs_fetch(self, key_id: str) -> bool:
        now = asyncio.get_running_loop().time()
        old = now - self._fetched > self._settings.auth0_keys_s
        return (key_id not in self._keys or old) and now >= self._not_before

    async def _fetch(self) -> None:
        """Fetch the keys; keep the present ones if that fails."""
        again = bool(self._keys)
        try:
            keys = await self._download()
            self._reachable = True
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            logger.warning("auth0_keys_unavailable", url=self._keys_url, error=repr(error))
            self._reachable = False
        now = asyncio.get_running_loop().time()
        if self._reachable:
            self._keys, self._fetched = keys, now
        if again:
            self._not_before = now + self._settings.auth0_refetch_s
        elif not self._reachable:
            self._not_before = now + self._settings.auth0_retry_s

    async def _download(self) -> dict[str, jwt.PyJWK]:
        session = self._outbound.session
        timeout = aiohttp.ClientTimeout(total=self._settings.auth0_timeout_s)
        async with session.get(self._keys_url, timeout=timeout, allow_redirects=False) as response:
            if response.status != 200:  # noqa: PLR2004
                raise ValueError(f"status {response.status}")
            document = orjson.loads(await response.read())
        keys = _read_keys(document)
        if not keys:
            raise ValueError("no usable key")
        return keys


def _key_id(token: str) -> str | None:
    """Return the id of the key that `token` says it was signed with, if that can be one of ours."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
    key_id = header.get("kid")
    return key_id if header.get("alg") == ALGORITHM and isinstance(key_id, str) else None


def _scopes(claims: Mapping[str, Any]) -> set[str]:
    """Return what a token may do: its scopes and, where the tenant adds them, its permissions."""
    scope, permissions = claims.get("scope"), claims.get("permissions")
    scopes = set(scope.split(" ")) if isinstance(scope, str) else set()
    if isinstance(permissions, list):
        scopes.update(each for each in permissions if isinstance(each, str))
    return scopes


def _read_keys(document: Any) -> dict[str, jwt.PyJWK]:
    """Return the RSA signing keys in a JWKS document, by id; ignore other keys."""
    entries = document.get("keys") if isinstance(document, dict) else None
    keys = {}
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str):
            continue
        signs = entry.get("use", "sig") == "sig" and entry.get("alg", ALGORITHM) == ALGORITHM
        if signs and entry.get("kty") == "RSA":
            try:
                key = jwt.PyJWK(entry, algorithm=ALGORITHM)
                if key.key.key_size < LEAST_KEY_BITS:
                    raise ValueError(f"{key.key.key_size} bits; {LEAST_KEY_BITS} are the least")
                keys[entry["kid"]] = key
            except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
                logger.warning("auth0_key_unusable", key_id=entry["kid"], error=repr(error))
    return keys
