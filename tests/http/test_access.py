"""The token of the commerce service."""

import pytest

from tests.http.contract import ROUTES, address, refusal

TOKEN = "s3cret/+=é"
PUBLIC = {"/healthz", "/readyz"}

WRONG = [None, "", " ", "Bearer", "Bearer ", "Bearer wrong", f"Bearer {TOKEN}x", f"Bearer x{TOKEN}"]
WRONG += [f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN.upper()}", f"Bearer {TOKEN} {TOKEN}", TOKEN]
WRONG += [f"Basic {TOKEN}", f"Bearer:{TOKEN}", f"Bearer{TOKEN}", f'Bearer "{TOKEN}"', "Bearer None"]
WRONG += ["Bearer \u20ac", "\u20ac \u20ac", "Bearer \udcff", "\udcff", "x" * 8000]
ELSEWHERE = ["/", "/nowhere", "/api/x", "/healthz/", "/Healthz", "/x/healthz", "/healthz%2Fx"]
ELSEWHERE += ["/healthz/../user/1", "/healthz%2F..%2Fuser/1", "/user/1?/healthz", "/readyz;x"]
RIGHT = [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER {TOKEN}", f"Bearer  {TOKEN} "]


@pytest.mark.parametrize("given", WRONG, ids=lambda given: ascii(given)[:40])
async def test_access__wrong_credentials__401_at_every_route(serve, unchanged, given):
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


@pytest.mark.parametrize("given", RIGHT)
async def test_access__right_credentials__let_in_at_every_route(serve, ada, given):
    commerce = await serve(commerce_token=TOKEN)
    for method, path in ROUTES:
        response = await commerce.request(method, address(path), headers={"Authorization": given})
        expected = {"GET": {200, 404}, "HEAD": {200, 404}, "DELETE": {404}}
        assert response.status in expected.get(method, {404, 415})


@pytest.mark.parametrize("path", ELSEWHERE)
async def test_access__no_credentials__not_even_told_what_there_is(serve, path):
    commerce = await serve(commerce_token=TOKEN)
    for method in ("GET", "POST", "DELETE"):
        response = await commerce.request(method, path)
        assert await refusal(response) == (401, "unauthorized")


async def test_access__no_token_set__open(commerce, ada):
    response = await commerce.get("/user/1", headers={"Authorization": "Bearer whatever"})
    assert response.status == 200
