"""Encrypted cookies: what a browser keeps, and neither its user nor a script can read or change.

They are tokens of Fernet (AES and HMAC), under a key that is derived from ROWLOCK_COOKIE_KEY. Those
of ROWLOCK_COOKIE_KEY_BEFORE are still read, so that a key is replaced without ending sessions.
"""

import base64
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from rowlock.settings.features import PageSettings

LONGEST = 3800  # bytes; browsers drop cookies of more than 4,096, name and attributes included


class Cookies:
    """The encrypted cookies of one kind of pages, such as the console's."""

    def __init__(self, settings: PageSettings, purpose: str) -> None:
        """Cookies of one `purpose`, or of one name, can't be used for another."""
        secrets = [settings.cookie_key, settings.cookie_key_before]
        self._secrets = [secret for secret in secrets if secret is not None]
        self._purpose = purpose
        self._fernets: dict[str, MultiFernet] = {}  # by the name of the cookie

    def read(self, request: web.Request, name: str, lifetime_s: float) -> Mapping[str, Any] | None:
        """Return what a cookie says; None if there is none, or it is ours no more."""
        given = request.cookies.get(name)
        if given is None or len(given) > LONGEST or not given.isascii():
            return None
        try:
            data = orjson.loads(self._fernet(name).decrypt(given, ttl=int(lifetime_s)))
        except (InvalidToken, orjson.JSONDecodeError):
            return None
        return data if isinstance(data, dict) else None

    def write(
        self, response: web.StreamResponse, name: str, data: Mapping[str, Any], lifetime_s: float
    ) -> None:
        """Let the browser keep `data`. Its name must begin with `__Host-`."""
        token = self._fernet(name).encrypt(orjson.dumps(data)).decode()
        _set(response, name, token, int(lifetime_s))

    def _fernet(self, name: str) -> MultiFernet:
        found = self._fernets.get(name)
        if found is None:
            use = f"{self._purpose} {name}"
            found = MultiFernet([Fernet(_derive(secret, use)) for secret in self._secrets])
            self._fernets[name] = found
        return found

    @staticmethod
    def remove(response: web.StreamResponse, name: str) -> None:
        """Let the browser forget a cookie."""
        _set(response, name, "", 0)


def _set(response: web.StreamResponse, name: str, value: str, lifetime_s: int) -> None:
    response.set_cookie(
        name,
        value,
        max_age=lifetime_s,
        path="/",
        secure=True,
        httponly=True,
        samesite="Strict",
    )


def _derive(secret: str, use: str) -> bytes:
    kdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=f"rowlock {use}".encode())
    return base64.urlsafe_b64encode(kdf.derive(secret.encode()))
