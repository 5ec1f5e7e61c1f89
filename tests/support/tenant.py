"""An Auth0 tenant: the server of its keys, and the tokens that it issues."""

import asyncio
import time
from collections.abc import Collection
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

DOMAIN = "tenant.eu.auth0.com"
AUDIENCE = "https://panel.example/api"
HOUR = 3600


class KeyServer:
    """What a tenant serves at /.well-known/jwks.json."""

    def __init__(self) -> None:
        self.entries: list[dict[str, object]] = []
        self.requests = 0
        self.url = ""
        self.broken = False
        self.hangs: asyncio.Event | None = None

    async def serve(self, _: web.Request) -> web.Response:
        self.requests += 1
        if self.hangs is not None:
            await self.hangs.wait()
        if self.broken:
            raise web.HTTPBadGateway
        return web.json_response({"keys": self.entries})

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/.well-known/jwks.json", self.serve)
        return app


def public(key: rsa.RSAPrivateKey, key_id: str) -> dict[str, object]:
    entry = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return entry | {"kid": key_id, "use": "sig", "alg": "RS256"}


def token(
    key: Any,  # None for the algorithm none
    *,
    key_id: str = "one",
    algorithm: str = "RS256",
    without: Collection[str] = (),
    **claims: object,
) -> str:
    now = int(time.time())
    good = {"iss": f"https://{DOMAIN}/", "aud": AUDIENCE, "sub": "auth0|1", "exp": now + HOUR}
    payload = {name: value for name, value in (good | claims).items() if name not in without}
    return jwt.encode(payload, key, algorithm, headers={"kid": key_id})
