"""Tokens of an Auth0 tenant, with real RSA keys and a real server of the keys."""

import asyncio
import base64
import hashlib
import hmac
import time
import warnings
from collections.abc import Callable
from typing import Any

import orjson
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pytest_aiohttp.plugin import AiohttpClient, AiohttpServer

from rowlock.services import PROJECTS
from rowlock.settings import Settings
from tests.support.contract import bearer, refusal
from tests.support.panel import add_projects
from tests.support.polling import until
from tests.support.roles import create_app
from tests.support.tenant import AUDIENCE, DOMAIN, HOUR, KeyServer, public, token
from tests.support.types import Client, Connection

Keys = dict[str, rsa.RSAPrivateKey]


@pytest.fixture(scope="session")
def keys() -> Keys:
    return {key_id: rsa.generate_private_key(65537, 2048) for key_id in ("one", "two", "other")}


@pytest.fixture
async def tenant(aiohttp_server: AiohttpServer, keys: Keys) -> KeyServer:
    tenant = KeyServer()
    tenant.entries = [
        {"kty": "EC", "kid": "ec", "crv": "P-256"},  # no business of ours
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        public(keys["one"], "one"),
    ]
    server = await aiohttp_server(tenant.app())
    tenant.url = str(server.make_url("/"))
    return tenant


@pytest.fixture
def auth0(settings: Settings, tenant: KeyServer) -> Settings:
    return settings.changed(auth0_domain=DOMAIN, auth0_audience=AUDIENCE, auth0_url=tenant.url)


@pytest.fixture
async def client(
    aiohttp_client: AiohttpClient, shared_database_url: str, auth0: Settings
) -> Client:
    return await aiohttp_client(create_app(PROJECTS, auth0, shared_database_url))


async def status(client: Client, given: str) -> int:
    response = await client.get("/projects", headers=bearer(given))
    return response.status


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({}, 200),
        ({"aud": ["https://other.example", AUDIENCE]}, 200),
        ({"nbf": 0, "iat": 2**33, "extra": {"a": 1}}, 200),
        ({"aud": "https://other.example"}, 401),
        ({"aud": []}, 401),
        ({"aud": None}, 401),
        ({"without": ["aud"]}, 401),
        ({"iss": "https://other.eu.auth0.com/"}, 401),
        ({"iss": f"https://{DOMAIN}"}, 401),
        ({"without": ["iss"]}, 401),
        ({"exp": int(time.time()) - 1}, 401),
        ({"exp": "soon"}, 401),
        ({"without": ["exp"]}, 401),
        ({"nbf": int(time.time()) + HOUR}, 401),
        ({"nbf": "now"}, 401),
        ({"sub": "auth0|" + "x" * 249}, 200),
        ({"sub": "client@clients"}, 200),
        ({"without": ["sub"]}, 401),
        ({"sub": None}, 401),
        ({"sub": 1}, 401),
        ({"sub": ["auth0|1"]}, 401),
        ({"sub": ""}, 401),
        ({"sub": "a\0b"}, 401),
        ({"sub": "a\nb"}, 401),
        ({"sub": "\ud800"}, 401),
        ({"sub": "x" * 256}, 401),
        ({"key_id": "unknown"}, 401),
        ({"key_id": "ec"}, 401),
        ({"key_id": "broken"}, 401),
        ({"algorithm": "RS512"}, 401),
        ({"algorithm": "PS256"}, 401),
    ],
)
async def test_jwt__each_claim__checked(
    client: Client, keys: Keys, claims: dict[str, Any], expected: int
) -> None:
    assert await status(client, token(keys["one"], **claims)) == expected


@pytest.mark.parametrize(
    ("subject", "actor"),
    [("auth0|1", "auth0|1"), ("google-oauth2|1", "auth0|google-oauth2|1"), (None, "token")],
)
async def test_log__request_of_a_user__names_the_subject(
    aiohttp_client: AiohttpClient,
    shared_database_url: str,
    auth0: Settings,
    keys: Keys,
    subject: str | None,
    actor: str,
) -> None:
    settings = auth0.changed(log_requests=True)
    client = await aiohttp_client(create_app(PROJECTS, settings, shared_database_url))
    given = auth0.addresses.projects_token
    if subject is not None:
        given = token(keys["one"], sub=subject)
    with structlog.testing.capture_logs() as entries:
        assert await status(client, given) == 200
    [line] = [entry for entry in entries if entry["event"] == "request"]
    assert (line["actor"], line["client"]) == (actor, "127.0.0.1")


async def test_key__several_users__each_has_keys_of_its_own(
    aiohttp_client: AiohttpClient,
    database_url: str,
    connection: Connection,
    auth0: Settings,
    keys: Keys,
) -> None:
    client = await aiohttp_client(create_app(PROJECTS, auth0, database_url))
    await add_projects(connection, 1)
    users = [
        *(token(keys["one"], sub=sub) for sub in ("auth0|1", "auth0|2", "google-oauth2|1")),
        auth0.addresses.projects_token,
    ]
    answers = []
    for given in users * 2:
        headers = bearer(given) | {"Idempotency-Key": "k"}
        response = await client.post("/projects/1/deployment", headers=headers)
        replayed = "Idempotency-Replayed" in response.headers
        answers.append((response.status, (await response.json())["id"], replayed))
    assert answers == [(201, n, replayed) for replayed in (False, True) for n in (1, 2, 3, 4)]
    name_spaces = "SELECT array_agg(service ORDER BY service) FROM idempotency_keys"
    assert await connection.fetchval(name_spaces) == [
        "projects",
        "projects auth0|1",
        "projects auth0|2",
        "projects auth0|google-oauth2|1",
    ]


@pytest.mark.parametrize("metrics_token", [None, "scrape"])
async def test_jwt__good_one__shows_no_metrics(
    aiohttp_client: AiohttpClient,
    shared_database_url: str,
    auth0: Settings,
    keys: Keys,
    metrics_token: str | None,
) -> None:
    settings = auth0.changed(metrics_token=metrics_token)
    client = await aiohttp_client(create_app(PROJECTS, settings, shared_database_url))
    good = token(keys["one"])
    assert await status(client, good) == 200
    assert (await client.get("/metrics", headers=bearer(good))).status == 401


async def test_jwt__signed_with_another_key__401(client: Client, keys: Keys) -> None:
    assert await status(client, token(keys["other"])) == 401


async def test_jwt__alg_none__401(client: Client, keys: Keys) -> None:
    assert await status(client, token(None, algorithm="none")) == 401


@pytest.mark.parametrize("form", ["pem", "jwk"])
async def test_jwt__hs256_with_the_public_key__401(client: Client, keys: Keys, form: str) -> None:
    public_key = keys["one"].public_key()
    secret = public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if form == "jwk":
        secret = orjson.dumps(public(keys["one"], "one"))
    header, payload, _ = token(keys["one"]).split(".")
    for claimed in ("HS256", "RS256"):
        header = encoded({"alg": claimed, "typ": "JWT", "kid": "one"})
        mac = hmac.digest(secret, f"{header}.{payload}".encode(), hashlib.sha256)
        assert await status(client, f"{header}.{payload}.{encoded(mac)}") == 401


def encoded(part: object) -> str:
    data = part if isinstance(part, bytes) else orjson.dumps(part)
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "given",
    [
        "a.b.c",
        "..",
        "e30.e30.e30",
        "\udcff.\udcfe.x",
        f"{encoded(b'[' * 5000)}.e30.e30",
        f"{encoded({'alg': 'RS256', 'kid': 1})}.e30.e30",
        f"{encoded({'alg': ['RS256'], 'kid': 'one'})}.e30.e30",
        f"{encoded({'alg': 'RS256', 'kid': 'one', 'crit': ['x']})}.e30.e30",
        f"{encoded([])}.e30.e30",
        f"{encoded({'alg': 'RS256', 'kid': 'one'})}.{encoded(b'null')}.e30",
    ],
)
async def test_jwt__malformed__401(client: Client, given: str) -> None:
    assert await status(client, given) == 401


async def test_jwt__payload_or_header_changed__401(client: Client, keys: Keys) -> None:
    header, payload, signature = token(keys["one"]).split(".")
    other = token(keys["one"], sub="auth0|2").split(".")
    assert await status(client, f"{header}.{other[1]}.{signature}") == 401
    assert await status(client, f"{header}.{payload}.{signature[:-4]}") == 401


async def test_static_token__beside_the_tenant__still_good(
    client: Client, settings: Settings, tenant: KeyServer
) -> None:
    assert await status(client, settings.addresses.projects_token) == 200
    assert await status(client, "wrong") == 401
    assert tenant.requests == 0


async def test_keys__many_tokens__fetched_once(
    client: Client, keys: Keys, tenant: KeyServer
) -> None:
    for _ in range(3):
        assert await status(client, token(keys["one"])) == 200
    assert tenant.requests == 1


async def test_keys__unknown_id__fetched_again_once_a_minute(
    client: Client, keys: Keys, tenant: KeyServer
) -> None:
    assert await status(client, token(keys["one"])) == 200
    tenant.entries.append(public(keys["two"], "two"))
    assert await status(client, token(keys["two"], key_id="two")) == 200
    for _ in range(3):
        assert await status(client, token(keys["other"], key_id="other")) == 401
    assert tenant.requests == 2


async def test_keys__unknown_id_after_the_minute__fetched_again(
    aiohttp_client: AiohttpClient,
    shared_database_url: str,
    auth0: Settings,
    keys: Keys,
    tenant: KeyServer,
) -> None:
    limits = auth0.changed(auth0_refetch_s=0.0)
    client = await aiohttp_client(create_app(PROJECTS, limits, shared_database_url))
    for _ in range(3):
        assert await status(client, token(keys["other"], key_id="other")) == 401
    assert tenant.requests == 3
    tenant.entries.append(public(keys["other"], "other"))
    assert await status(client, token(keys["other"], key_id="other")) == 200


async def test_keys__old__fetched_again_and_a_revoked_one_is_gone(
    aiohttp_client: AiohttpClient,
    shared_database_url: str,
    auth0: Settings,
    keys: Keys,
    tenant: KeyServer,
) -> None:
    limits = auth0.changed(auth0_refetch_s=0.0, auth0_keys_s=0.0)
    client = await aiohttp_client(create_app(PROJECTS, limits, shared_database_url))
    assert await status(client, token(keys["one"])) == 200
    tenant.broken = True  # while the tenant can't be reached, the keys we have serve on
    assert await status(client, token(keys["one"])) == 200
    tenant.broken = False
    tenant.entries = [public(keys["two"], "two")]
    await until(lambda: refused(client, token(keys["one"])))


async def refused(client: Client, given: str) -> bool:
    return await status(client, given) == 401


async def test_keys__unreachable__503_for_jwts_alone_and_well_again(
    aiohttp_client: AiohttpClient,
    shared_database_url: str,
    auth0: Settings,
    keys: Keys,
    tenant: KeyServer,
) -> None:
    limits = auth0.changed(auth0_retry_s=0.0)
    client = await aiohttp_client(create_app(PROJECTS, limits, shared_database_url))
    tenant.broken = True
    response = await client.get("/projects", headers=bearer(token(keys["one"])))
    assert response.status == 503
    assert response.headers["Retry-After"] == "1"
    assert (await response.json())["error"] == "signing_keys_unavailable"
    assert await status(client, auth0.addresses.projects_token) == 200
    assert await status(client, "wrong") == 401
    tenant.broken = False
    assert await status(client, token(keys["one"])) == 200


async def test_keys__nothing_listens__503_and_asked_again_only_after_a_pause(
    aiohttp_client: AiohttpClient,
    shared_database_url: str,
    auth0: Settings,
    keys: Keys,
    unused_tcp_port_factory: Callable[[], int],
) -> None:
    nowhere = f"http://127.0.0.1:{unused_tcp_port_factory()}"
    limits = auth0.changed(auth0_url=nowhere, auth0_retry_s=60.0)
    client = await aiohttp_client(create_app(PROJECTS, limits, shared_database_url))
    for _ in range(2):
        assert await status(client, token(keys["one"])) == 503


async def test_jwt__no_tenant_configured__401(
    aiohttp_client: AiohttpClient,
    shared_database_url: str,
    settings: Settings,
    keys: Keys,
) -> None:
    client = await aiohttp_client(create_app(PROJECTS, settings, shared_database_url))
    assert await status(client, token(keys["one"])) == 401


SCOPES = {"auth0_read_scope": "read:projects", "auth0_write_scope": "write:projects"}


@pytest.mark.parametrize(
    ("claims", "reads", "writes"),
    [
        ({}, False, False),
        ({"scope": "read:projects"}, True, False),
        ({"scope": "openid write:projects"}, False, True),
        ({"scope": "read:projects write:projects"}, True, True),
        ({"permissions": ["read:projects", 7]}, True, False),
        ({"scope": "openid", "permissions": ["write:projects"]}, False, True),
        ({"scope": "read:projects2 xread:projects"}, False, False),
        ({"scope": ["read:projects"], "permissions": "read:projects"}, False, False),
        ({"scope": None, "permissions": None}, False, False),
    ],
)
async def test_scopes__required__403_without(
    aiohttp_client: AiohttpClient,
    shared_database_url: str,
    auth0: Settings,
    keys: Keys,
    claims: dict[str, Any],
    reads: bool,
    writes: bool,
) -> None:
    strict = auth0.changed(**SCOPES)
    client: Client = await aiohttp_client(create_app(PROJECTS, strict, shared_database_url))
    headers = bearer(token(keys["one"], **claims))
    for method, path, allowed, scope in (
        ("GET", "/projects", reads, "read:projects"),
        ("HEAD", "/projects", reads, "read:projects"),
        ("POST", "/projects/999/deployment", writes, "write:projects"),
    ):
        response = await client.request(method, path, headers=headers)
        if allowed:
            assert response.status in {200, 404}
        else:
            assert response.status == 403
            if method != "HEAD":
                error = await response.json()
                assert (error["error"], error["details"]) == ("scope_missing", {"scope": scope})
    assert await status(client, auth0.addresses.projects_token) == 200


async def test_scopes__only_one_required__the_other_is_free(
    aiohttp_client: AiohttpClient, shared_database_url: str, auth0: Settings, keys: Keys
) -> None:
    strict = auth0.changed(auth0_write_scope="write:projects")
    client = await aiohttp_client(create_app(PROJECTS, strict, shared_database_url))
    assert await status(client, token(keys["one"])) == 200


@pytest.mark.parametrize("scopes", [{}, SCOPES], ids=["free", "strict"])
async def test_scopes__to_manage_api_keys__named_by_the_token_itself(
    aiohttp_client: AiohttpClient,
    shared_database_url: str,
    auth0: Settings,
    keys: Keys,
    scopes: dict[str, str],
) -> None:
    client = await aiohttp_client(
        create_app(PROJECTS, auth0.changed(**scopes), shared_database_url)
    )
    usual = "read:projects write:projects"
    for method, path in (("GET", "/keys"), ("POST", "/keys"), ("DELETE", "/keys/nobody")):
        headers = bearer(token(keys["one"], scope=usual))
        response = await client.request(method, path, headers=headers)
        assert await refusal(response) == (403, "scope_missing")
        assert (await response.json())["details"] == {"scope": "keys:write"}
        headers = bearer(token(keys["one"], scope=f"{usual} keys:write"))
        response = await client.request(method, path, headers=headers)
        assert response.status in {200, 404, 415}


async def test_keys__too_short__not_taken(client: Client, tenant: KeyServer) -> None:
    short = rsa.generate_private_key(65537, 1024)
    tenant.entries.append(public(short, "short"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyJWT's, of the short key that signs
        given = token(short, key_id="short")
    assert await status(client, given) == 401


async def test_keys__tenant_hangs__known_users_do_not_wait(
    aiohttp_client: AiohttpClient,
    shared_database_url: str,
    auth0: Settings,
    keys: Keys,
    tenant: KeyServer,
) -> None:
    limits = auth0.changed(auth0_refetch_s=0.0, auth0_keys_s=0.0, auth0_timeout_s=3600.0)
    client = await aiohttp_client(create_app(PROJECTS, limits, shared_database_url))
    assert await status(client, token(keys["one"])) == 200
    tenant.hangs = asyncio.Event()
    async with asyncio.timeout(60):
        stranger = asyncio.create_task(status(client, token(keys["two"], key_id="two")))
        await until(lambda: tenant.requests == 2)  # which the stranger waits for
        for _ in range(3):
            assert await status(client, token(keys["one"])) == 200
        assert not stranger.done()
        tenant.hangs.set()
        assert await stranger == 401
