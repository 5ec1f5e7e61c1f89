"""Errors as problem details (RFC 9457), for clients that prefer `application/problem+json`."""

import re
from typing import Any

import orjson
import pytest
from aiohttp import ClientResponse

from tests.support.contract import WRITES, exchange, raw_request, refusal, send
from tests.support.types import Client, Serve

PROBLEM = "application/problem+json"
WANTS = {"Accept": PROBLEM}
INVOICE = {"user_id": 1, "amount": 100, "label": "Work"}
ORDER = {"order": {"items": ["nothing"], "user_id": "ada"}}

# How clients ask, and whether they get a problem.
ACCEPTS = [
    (PROBLEM, True),
    ("APPLICATION/PROBLEM+JSON", True),
    (f"application/json, {PROBLEM}", True),
    (f"{PROBLEM}, application/json;q=0.9", True),
    (f"{PROBLEM};q=0.5", True),
    (f"{PROBLEM};q=0.5, application/json;q=0.4, */*;q=0.1", True),
    (f"{PROBLEM};q=0.5, */*", False),
    (f"{PROBLEM};q=0.5, application/json", False),
    (f"{PROBLEM};q=0", False),
    (f"{PROBLEM};q=0, */*", False),
    (f"text/html, {PROBLEM};q=0", False),
    ("*/*", False),
    ("application/*", False),
    ("application/json", False),
    ("", False),
]

# An error of each status that a service without a token answers with.
REQUESTS = [
    (400, "GET", "/user/1?x=1", None),
    (400, "POST", "/orders", {}),
    (404, "GET", "/user/99", None),
    (404, "GET", "/nowhere", None),
    (405, "DELETE", "/invoices", None),
    (413, "POST", "/invoices", "x" * 65_536),
    (400, "POST", "/api/orders", ORDER),
    (400, "POST", "/api/orders", {}),
    (404, "GET", "/api/nowhere", None),
]


async def problem(response: ClientResponse) -> dict[str, Any]:
    """The problem that is answered, which must be as RFC 9457 and docs/api.md have it."""
    assert response.headers["Content-Type"] == PROBLEM
    body: dict[str, Any] = orjson.loads(await response.read())
    assert list(body) == [
        *("type", "title", "status", "detail"),
        *("error", "name", "details", "request_id"),
    ]
    assert body["type"] == "about:blank"
    assert re.fullmatch("[A-Z][A-Za-z ]+", body["title"])
    assert body["status"] == response.status
    assert body["name"] == body["error"].title().replace("_", "")
    assert re.fullmatch(r"\S.*[.]", body["detail"], re.DOTALL)
    assert isinstance(body["details"], dict)
    assert body["request_id"] == response.headers["X-Request-ID"]
    return body


@pytest.mark.parametrize(("accept", "is_problem"), ACCEPTS)
async def test_error__by_accept__a_problem_or_as_ever(
    commerce: Client, accept: str, is_problem: bool
) -> None:
    response = await commerce.get("/user/99", headers={"Accept": accept})
    if is_problem:
        assert (await problem(response))["error"] == "user_not_found"
    else:
        assert await refusal(response) == (404, "user_not_found")


@pytest.mark.parametrize(("status", "method", "path", "body"), REQUESTS)
async def test_problem__any_error__says_what_the_plain_one_says(
    commerce: Client, ada: int, status: int, method: str, path: str, body: Any
) -> None:
    plain = await commerce.request(method, path, json=body)
    response = await commerce.request(method, path, json=body, headers=WANTS)
    assert response.status == plain.status == status
    found, expected = await problem(response), await plain.json()
    assert found["error"] == expected["error"]
    if not path.startswith("/api/"):
        assert found["name"] == expected["name"]
        assert found["detail"] == expected["message"]
        assert found["details"] == expected["details"]
        assert found["title"].upper().replace(" ", "_") == expected["status"]
    assert response.headers.get("Allow") == plain.headers.get("Allow")


async def test_problem__below_api__has_what_the_plain_error_leaves_out(
    commerce: Client, ada: int, catalogue: dict[str, int]
) -> None:
    body = await problem(await commerce.post("/api/orders", json=ORDER, headers=WANTS))
    assert (body["status"], body["error"]) == (400, "products_not_found")
    assert body["details"] == {"items": ["nothing"]}


async def test_success__problem_preferred__as_ever(commerce: Client, ada: int) -> None:
    response = await commerce.get("/user/1", headers=WANTS)
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"


async def test_head__problem_preferred__its_headers(commerce: Client) -> None:
    response = await commerce.head("/user/99", headers=WANTS)
    assert response.status == 404
    assert response.headers["Content-Type"] == PROBLEM


async def test_problem__queue_full__503_with_retry_after(serve: Serve, ada: int) -> None:
    commerce = await serve(batch_queue=0)
    response = await commerce.get("/user/1", headers=WANTS)
    assert (await problem(response))["error"] == "overloaded"
    assert response.headers["Retry-After"]


async def test_problem__no_token__401_with_the_challenge(serve: Serve) -> None:
    commerce = await serve(commerce_token="secret")
    response = await commerce.get("/user/1", headers=WANTS)
    assert (await problem(response))["error"] == "unauthorized"
    assert response.headers["WWW-Authenticate"]


async def test_readiness__problem_preferred__no_error_and_so_as_ever(
    serve: Serve, unused_tcp_port: int
) -> None:
    commerce = await serve(f"postgresql://127.0.0.1:{unused_tcp_port}/x")
    response = await commerce.get("/readyz", headers=WANTS)
    assert response.status == 503
    assert (await response.json())["status"] == "not ready"


async def test_batch__problem_preferred__errors_within_it_are_plain(
    commerce: Client, ada: int
) -> None:
    body = {"invoices": [{**INVOICE, "user_id": 99}]}
    response = await commerce.post("/invoices/batch", json=body, headers=WANTS)
    [outcome] = (await response.json())["outcomes"]
    assert outcome["error"]["message"]


LONG = b"X: " + b"x" * 1000 + b"\r\n"
FORMS = [None, PROBLEM]


@pytest.mark.parametrize("first", FORMS)
@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/invoices/{id}/pay", 409, "invoice_already_paid"),
        ("/api/orders", 400, "products_already_purchased"),
    ],
)
async def test_replay__of_a_rejection__in_the_form_that_is_asked_for_now(
    clients: dict[str, Client], path: str, status: int, code: str, first: str | None
) -> None:
    commerce = clients["commerce"]
    body = WRITES["commerce", "POST", path]

    async def ask(form: str | None) -> ClientResponse:
        headers = {} if form is None else {"Accept": form}
        return await send(commerce, "POST", path, body, key="k", **headers)

    assert (await send(commerce, "POST", path, body, key=None)).status == 200
    answers = [await ask(form) for form in (first, *FORMS, *FORMS)]
    assert {answer.status for answer in answers} == {status}
    assert [answer.headers.get("Idempotency-Replayed") for answer in answers] == [
        None,
        *4 * ["true"],
    ]
    for answer, form in zip(answers, (first, *FORMS, *FORMS), strict=True):
        if form is None:
            assert await refusal(answer) == (status, code)
        else:
            assert (await problem(answer))["error"] == code
    shown = [orjson.loads(await answer.read()) for answer in answers]
    for one in shown:
        one.pop("request_id", None)
    assert shown[1] == shown[3]
    assert shown[2] == shown[4]
    assert shown[0] == shown[1 + FORMS.index(first)]


async def test_replay__key_of_another_request__a_problem(commerce: Client, ada: int) -> None:
    headers = {"Idempotency-Key": "k"} | WANTS
    assert (await commerce.post("/invoices", json=INVOICE, headers=headers)).status == 201
    response = await commerce.post("/invoices", json=INVOICE | {"amount": 1}, headers=headers)
    assert (await problem(response))["error"] == "idempotency_key_reused"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (raw_request("GET /user/1", b"Accept: application/problem+json\r\nbroken\r\n\r\n"), 400),
        (b"GET /x HTTP/9.9\r\nHost: x\r\naccept:application/problem+json\r\n\r\n", 505),
        (raw_request("GET /x", b"Accept: application/problem+json\r\n", 40 * LONG), 431),
        (
            b"GET /api/x HTTP/1.0\r\nAccept: application/problem+json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n",
            400,
        ),
    ],
)
async def test_problem__no_valid_http__by_what_its_beginning_has(
    serve: Serve, request_: bytes, status: int
) -> None:
    commerce = await serve()
    head, _, body = (await exchange(commerce, request_)).partition(b"\r\n\r\n")
    assert head.split()[1] == b"%d" % status
    assert f"\r\nContent-Type: {PROBLEM}\r\n".encode() in head
    found = orjson.loads(body)
    assert found["status"] == status
    assert f"X-Request-ID: {found['request_id']}".encode() in head


async def test_error__no_valid_http_and_accept_in_its_body__as_ever(serve: Serve) -> None:
    commerce = await serve()
    broken = raw_request("GET /user/1", b"broken\r\n\r\nAccept: application/problem+json\r\n")
    head, _, body = (await exchange(commerce, broken)).partition(b"\r\n\r\n")
    assert b"\r\nContent-Type: application/json" in head
    assert orjson.loads(body)["status"] == "BAD_REQUEST"
