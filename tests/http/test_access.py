"""Who may call what: every route of every service, with wrong credentials and the right ones."""

import pytest
from pytest_aiohttp.plugin import AiohttpClient
from yarl import URL

from rowlock.http.service import Service
from rowlock.services import SERVICES
from rowlock.settings import Settings
from tests.support.contract import ROUTES, address, api_routes, path_of, refusal
from tests.support.roles import create_app
from tests.support.services import quiet
from tests.support.types import Client, Serve, Unchanged

TOKEN = "s3cret/+=é"
PUBLIC = {"/", "/healthz", "/readyz", "/readyz/writes", "/openapi.json", "/docs"}
WEBHOOK = "/deployment/webhook"  # its handler sees to access itself

WRONG = [None, "", " ", "Bearer", "Bearer ", "Bearer wrong", f"Bearer {TOKEN}x", f"Bearer x{TOKEN}"]
WRONG += [f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN.upper()}", f"Bearer {TOKEN} {TOKEN}", TOKEN]
WRONG += [f"Basic {TOKEN}", f"Bearer:{TOKEN}", f"Bearer{TOKEN}", f'Bearer "{TOKEN}"', "Bearer None"]
WRONG += ["Bearer \u20ac", "\u20ac \u20ac", "Bearer \udcff", "\udcff", "x" * 8000]
ELSEWHERE = ["/x", "/nowhere", "/api/x", "/healthz/", "/Healthz", "/x/healthz", "/healthz%2Fx"]
ELSEWHERE += ["/healthz/../user/1", "/healthz%2F..%2Fuser/1", "/user/1?/healthz", "/readyz;x"]
RIGHT = [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER {TOKEN}", f"Bearer  {TOKEN} "]


@pytest.mark.parametrize("given", WRONG, ids=lambda given: ascii(given)[:40])
async def test_access__wrong_credentials__401_at_every_route(
    serve: Serve, unchanged: Unchanged, given: str | None
) -> None:
    commerce = await serve(commerce_token=TOKEN)
    headers = {} if given is None else {"Authorization": given}
    async with unchanged():
        for method, path in ROUTES:
            response = await commerce.request(method, address(path), headers=headers)
            if path in PUBLIC:
                assert response.status == 200
            elif method == "HEAD":
                assert response.status == 401
            else:
                assert await refusal(response) == (401, "unauthorized")
                assert response.headers["WWW-Authenticate"].startswith("Bearer ")


TOKENS = {str(name): f"{name}-token" for name in SERVICES}


@pytest.mark.parametrize("service", SERVICES.values(), ids=lambda service: service.name)
@pytest.mark.parametrize("given", [None, "nobody", *TOKENS])
async def test_access__every_route_of_every_service__401_but_for_its_own_token(
    aiohttp_client: AiohttpClient,
    shared_database_urls: dict[str, str],
    settings: Settings,
    service: Service,
    given: str | None,
) -> None:
    """The router says what routes there are. Those that anybody may call are in PUBLIC."""
    own = {f"{name}_token": token for name, token in TOKENS.items()}
    url = shared_database_urls[service.database]
    client = await aiohttp_client(create_app(quiet(service), settings.changed(**own), url))
    headers = {} if given is None else {"Authorization": f"Bearer {TOKENS.get(given, given)}"}
    let_in = set()
    for route in api_routes(client.app):
        path = path_of(route)
        if path == "/events/stream" and given == service.name:
            continue  # it goes on for ever
        # The webhook looks for the secret of the deployment that its body names.
        body = {"id": 1, "status": "done"} if path == WEBHOOK else None
        response = await client.request(route.method, address(path), headers=headers, json=body)
        if response.status != 401:
            let_in.add(path)
    everything = {path_of(route) for route in api_routes(client.app)}
    if given == service.name:
        assert let_in == everything - {"/events/stream", WEBHOOK}
    else:
        assert let_in == PUBLIC & everything
        assert let_in >= {"/healthz", "/readyz"}


@pytest.mark.parametrize("given", RIGHT)
async def test_access__right_credentials__let_in_at_every_route(
    serve: Serve, ada: int, given: str
) -> None:
    commerce = await serve(commerce_token=TOKEN)
    for method, path in ROUTES:
        response = await commerce.request(method, address(path), headers={"Authorization": given})
        expected = {"GET": {200, 404}, "HEAD": {200, 404}, "DELETE": {404}, "POST": {200, 404, 415}}
        assert response.status in expected.get(method, {404, 415})


@pytest.mark.parametrize("path", ELSEWHERE)
async def test_access__no_credentials__not_even_told_what_there_is(serve: Serve, path: str) -> None:
    commerce = await serve(commerce_token=TOKEN)
    for method in ("GET", "POST", "DELETE"):
        response = await commerce.request(method, path)
        assert await refusal(response) == (401, "unauthorized")


async def test_access__open_path_in_another_spelling__open_as_the_router_reads_it(
    serve: Serve,
) -> None:
    commerce = await serve(commerce_token=TOKEN)
    for path, status in {"%68ealthz": 200, "%75ser/1": 401, "healthz%2f": 401}.items():
        response = await commerce.session.get(URL(f"{commerce.make_url('/')}{path}", encoded=True))
        assert response.status == status, path


async def test_access__no_token_set__open(commerce: Client, ada: int) -> None:
    response = await commerce.get("/user/1", headers={"Authorization": "Bearer whatever"})
    assert response.status == 200
