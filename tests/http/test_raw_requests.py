"""What a well-behaved client never sends: broken HTTP, byte by byte."""

import asyncio
import gzip
import logging
import re

import orjson
import pytest
import structlog

from rowlock.process.connection import ClientConnection
from rowlock.settings import Settings
from tests.support.contract import address, exchange, paths, server_of
from tests.support.contract import raw_request as request
from tests.support.polling import until
from tests.support.types import Client, Serve, Unchanged

JSON = b"Content-Type: application/json\r\n"
CHUNKED = JSON + b"Transfer-Encoding: chunked\r\n"


def encoded(coding: bytes, body: bytes) -> tuple[bytes, bytes]:
    return of_length(b"%d\r\nContent-Encoding: %s" % (len(body), coding), body)


def of_length(length: bytes, body: bytes) -> tuple[bytes, bytes]:
    return JSON + b"Content-Length: " + length + b"\r\n", body


INVOICE = {"user_id": 1, "amount": 1, "label": "x"}
GOOD = b'{"x": 1}'
CUT_OFF = {
    "all of it": of_length(b"8", b""),
    "most of it": of_length(b"8", b"{"),
    "in a chunk": (CHUNKED, b"9\r\n{"),
    "after a chunk": (CHUNKED, b"2\r\n{}\r\n"),
    "in gzip": of_length(b"50\r\nContent-Encoding: gzip", gzip.compress(GOOD)),
    "in the headers": (JSON, b"X: 1"),
}
BROKEN = {
    "negative length": of_length(b"-1", GOOD),
    "length no number": of_length(b"x", GOOD),
    "length beyond bigint": of_length(b"9" * 30, GOOD),
    "two lengths": of_length(b"8\r\nContent-Length: 9", GOOD),
    "chunk size no number": (CHUNKED, b"zz\r\n{}\r\n0\r\n\r\n"),
    "chunk size negative": (CHUNKED, b"-2\r\n{}\r\n0\r\n\r\n"),
    "chunk size enormous": (CHUNKED, b"f" * 20 + b"\r\n"),
    "chunk longer than said": (CHUNKED, b"1\r\n{}\r\n0\r\n\r\n"),
    "chunk trailer broken": (CHUNKED, b"2\r\n{}\r\n0\r\n\xff: x\r\n\r\n"),
    "chunked and a length": (CHUNKED + b"Content-Length: 2\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
    "unknown transfer coding": (JSON + b"Transfer-Encoding: x\r\n", GOOD),
    "no gzip": encoded(b"gzip", b"no gzip at all"),
    "gzip of no JSON": encoded(b"gzip", gzip.compress(b"{")),
    "gzip with more behind it": encoded(b"gzip", gzip.compress(b"{}") + b"garbage"),
    "gzip twice": encoded(b"gzip, gzip", gzip.compress(gzip.compress(b"{}"))),
    "no deflate": encoded(b"deflate", b"\xff\xff\xff\xff"),
    "no brotli": encoded(b"br", b"\xff\xff\xff\xff"),
    "no zstd": encoded(b"zstd", b"\xff\xff\xff\xff"),
    "two types": (JSON + JSON + b"Content-Length: 8\r\n", GOOD),
    "bytes in the type": (b"Content-Type: \xff\r\nContent-Length: 8\r\n", GOOD),
    "bytes in the charset": (b"Content-Type: a/b; charset=\xff\r\nContent-Length: 8\r\n", GOOD),
    "bytes in the name of a header": (JSON + b"X-\xff: x\r\nContent-Length: 8\r\n", GOOD),
    "header folded": (JSON + b"X: a\r\n b\r\nContent-Length: 8\r\n", GOOD),
    "header too long": (JSON + b"X: " + b"x" * 9000 + b"\r\nContent-Length: 8\r\n", GOOD),
    "headers too many": (JSON + b"X: 1\r\n" * 1000 + b"Content-Length: 8\r\n", GOOD),
}


CODED = {"no gzip", "gzip of no JSON", "gzip with more behind it", "gzip twice"}
CODED |= {"no deflate", "no brotli", "no zstd"}
UNSUPPORTED = CODED | {"bytes in the type", "bytes in the charset"}


@pytest.fixture
async def commerce(serve: Serve) -> Client:
    """Served as by `rowlock serve`, down to the connections."""
    return await serve()


@pytest.fixture
async def payable(commerce: Client, ada: int) -> None:
    """An invoice that could be paid, were the request not broken."""
    response = await commerce.post("/invoices", json=INVOICE)
    assert response.status == 201


@pytest.mark.parametrize("case", BROKEN)
async def test_post__broken__refused_and_nothing_changed(
    commerce: Client, payable: None, unchanged: Unchanged, case: str
) -> None:
    headers, body = BROKEN[case]
    async with unchanged():
        for path in paths("POST"):
            whole = request(f"POST {address(path)}", headers, b"\r\n", body)
            answer = await exchange(commerce, whole)
            assert answer.split()[1] == (b"415" if case in UNSUPPORTED else b"400"), path


@pytest.mark.parametrize("case", CUT_OFF)
async def test_post__cut_off__nothing_changed(
    commerce: Client, payable: None, unchanged: Unchanged, case: str
) -> None:
    headers, body = CUT_OFF[case]
    async with unchanged():
        for path in paths("POST"):
            whole = request(f"POST {address(path)}", headers, b"\r\n", body)
            answer = await exchange(commerce, whole, hang_up=True)
            assert not answer or answer.split()[1] in {b"400", b"415"}, path
        assert (await commerce.get("/healthz")).status == 200


ENVELOPE = ["status", "error", "name", "message", "details"]
NO_REQUESTS = [b"\r\n\r\n\r\n", b"\x16\x03\x01\x00\xff\xff", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
NO_REQUESTS += [b"GET /user/1 HTTP/1.1\r\n\r\n", b"GET /user/1 HTTP/1.1\nHost: x\n\n"]
NO_REQUESTS += [b"GET /user/1\r\n\r\n", b"G\xffT / HTTP/1.1\r\nHost: x\r\n\r\n"]
NO_REQUESTS += [request("GET /user/1", b"Host: y\r\n\r\n"), request("FOO /user/1", b"\r\n")]
NO_REQUESTS += [request("OPTIONS *", b"\r\n"), request("CONNECT example.com:443", b"\r\n")]
NO_REQUESTS += [request("CONNECT /user/1", b"\r\n")]

TARGETS = [
    b"",
    b"*",
    b"x",
    b"?",
    b"#",
    b"//",
    b"/..",
    b"/%",
    b"/\xff",
    b"/x\x00y",
    b"/" + b"x" * 9000,
]
TARGETS += [
    b"http://",
    b"http://x/y",
    b"http://x/y?a=1",
    b"http://[::1/",
    b"http://x:99999/user/1",
    b"/user/1?\xff",
    b"/invoices?\xff=1",
]
TARGETS += [b"/user/\xff", b"/user/%00", b"/api/users/\xff", b"/api/users/%ff", b"/api/users/%00"]
NO_REQUESTS += [b"GET " + t + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" for t in TARGETS]


@pytest.mark.parametrize("broken", NO_REQUESTS, ids=lambda broken: ascii(broken)[2:40])
async def test_request__broken__refused_and_nothing_changed(
    commerce: Client,
    ada: int,
    unchanged: Unchanged,
    broken: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with unchanged():
        answer = await exchange(commerce, broken, hang_up=broken.isspace())
    if broken.isspace():
        assert answer == b""
        return
    assert answer.split()[1].startswith(b"4")
    headers, _, body = answer.partition(b"\r\n\r\n")
    assert re.search(rb"\r\nX-Request-ID: [\w-]+", headers)
    assert list(orjson.loads(body)) == (["error"] if b" /api/" in broken else ENVELOPE)
    assert (await commerce.get("/healthz")).status == 200
    assert max_level(caplog) < logging.WARNING


@pytest.mark.parametrize("target", [b"http://x", b"http://x/", b"http://x?a=1", b"/", b"/?a=1"])
async def test_request__no_path__is_for_what_is_here(commerce: Client, target: bytes) -> None:
    answer = await exchange(
        commerce, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert orjson.loads(answer.partition(b"\r\n\r\n")[2])["links"]["docs"] == "http://x/docs"


def max_level(caplog: pytest.LogCaptureFixture) -> int:
    """The level of the worst that libraries have logged."""
    return max((record.levelno for record in caplog.get_records("call")), default=0)


BELOW_API = [b"FOO /api/products HTTP/1.1\r\n", b"\r\nFOO /api/products HTTP/1.1\r\n"]
BELOW_API += [b"GET /api/products HTTP/1.1\r\nX\xff: y\r\n", b"GET /api/products\r\n"]
BELOW_API += [b"GET http://x/api/products HTTP/1.1\r\n\r\n", b"FOO https://x/api/x HTTP/1.1\r\n"]
BELOW_API += [b"GET /api/products HTTP/1.1\r\nX: " + b"x" * 9000, b"GET /api/?\xff HTTP/1.1\r\n"]


@pytest.mark.parametrize("broken", BELOW_API, ids=lambda broken: ascii(broken)[2:40])
@pytest.mark.parametrize("earlier", [None, "/healthz"])
async def test_request__broken_below_api__only_the_code(
    commerce: Client, earlier: str | None, broken: bytes
) -> None:
    answer = await exchange(commerce, broken + b"\r\n", earlier=earlier)
    assert answer.partition(b"\r\n\r\n")[2] == b'{"error":"invalid_request"}'


async def test_request__broken_after_one_below_api__its_own_envelope(
    commerce: Client, catalogue: dict[str, int]
) -> None:
    answer = await exchange(commerce, request("FOO /products"), earlier="/api/products")
    assert list(orjson.loads(answer.partition(b"\r\n\r\n")[2])) == ENVELOPE


async def test_body__broken_and_not_wanted__no_error_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    commerce = await serve(linger_timeout_s=0.1)
    headers, body = BROKEN["no gzip"]
    answer = await exchange(commerce, request("POST /nowhere", headers, b"\r\n", body))
    assert answer.split()[1] == b"404"
    assert max_level(caplog) < logging.WARNING


HEADERS = [
    b"Authorization: Bearer \xff",
    b"X-Request-ID: \xff",
    b"Cookie: \xff=\xff;;",
    b"Accept: \xff",
]
HEADERS += [b"Range: bytes=x", b"If-Modified-Since: x", b"Upgrade: websocket", b"Forwarded: \xff"]
HEADERS += [b"Accept-Encoding: \xff", b"Content-Type: \xff", b"X: " + b"x" * 8000]
HEADERS += [b"Expect: 200-ok", b"Expect: \xff", b"Expect:", b"Expect: 100-continue"]


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: ascii(header)[2:40])
async def test_header__any_bytes__no_matter(commerce: Client, ada: int, header: bytes) -> None:
    answer = await exchange(commerce, request("GET /user/1", header, b"\r\n\r\n"))
    assert answer.split()[1] == b"200"


EXPECTING = b"Expect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"


@pytest.mark.parametrize(
    ("start", "status"),
    [
        ("POST /nowhere", b"404"),
        ("PUT /invoices", b"405"),
        ("POST /invoices", b"401"),
        ("POST /invoices?x=1", b"400"),
    ],
)
async def test_expect__refused_without_its_body__not_asked_for(
    serve: Serve, settings: Settings, start: str, status: bytes
) -> None:
    commerce = await serve(commerce_token="token", linger_timeout_s=0.1)
    credentials = b"" if status == b"401" else b"Authorization: Bearer token\r\n"
    answer = await exchange(commerce, request(start, credentials, EXPECTING))
    assert answer.split()[1] == status
    headers, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nX-Request-ID: " in headers
    assert list(orjson.loads(body)) == ENVELOPE


@pytest.mark.parametrize(
    ("header", "status"), [("Content-Length: 65537", b"413"), ("Content-Type: text/plain", b"415")]
)
async def test_expect__refused_for_its_headers__not_asked_for(
    serve: Serve, ada: int, header: str, status: bytes
) -> None:
    commerce = await serve(linger_timeout_s=0.1)
    name = header.partition(":")[0].encode()
    others = b"".join(line for line in EXPECTING.splitlines(True) if not line.startswith(name))
    answer = await exchange(commerce, request("POST /invoices", f"{header}\r\n".encode(), others))
    assert answer.split()[1] == status


@pytest.mark.parametrize("expected", [b"100-continue", b"100-Continue", b"foo, 100-continue"])
async def test_expect__body_wanted__asked_for_once(
    commerce: Client, ada: int, expected: bytes
) -> None:
    reader, writer = await asyncio.open_connection(commerce.host, commerce.port)
    body = orjson.dumps(INVOICE)
    headers = of_length(b"%d\r\nExpect: %s" % (len(body), expected), b"")[0]
    for _ in range(2):  # the connection stays
        writer.write(b"POST /invoices HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")
        async with asyncio.timeout(10):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(body)
            assert (await reader.readuntil(b"\r\n\r\n")).split()[1] == b"201"
            assert orjson.loads(await reader.readuntil(b"}"))["user_id"] == 1
    writer.close()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_expect__body_there_already_or_http_1_0__not_asked_for(
    commerce: Client, ada: int, version: str
) -> None:
    body = orjson.dumps(INVOICE)
    headers, _ = of_length(b"%d\r\nExpect: 100-continue" % len(body), b"")
    start = f"POST /invoices HTTP/{version}\r\nHost: x\r\nConnection: close\r\n".encode()
    answer = await exchange(commerce, start + headers + b"\r\n" + body)
    assert answer.split()[1] == b"201"


async def test_expect__anything_else__logged_like_any_request(serve: Serve, ada: int) -> None:
    commerce = await serve(log_requests=True)
    with structlog.testing.capture_logs() as entries:
        for start in ("GET /user/1", "GET /nowhere"):
            await exchange(commerce, request(start, b"Expect: \xff\r\n\r\n"))
    assert [(entry["path"], entry["status"]) for entry in entries] == [
        ("/user/1", 200),
        ("/nowhere", 404),
    ]


@pytest.mark.parametrize("given", [b"Bearer \xff", b"Bearer t\xf6ken", b"\xff \xff", b"\xff"])
async def test_credentials__bytes_that_are_no_text__401(serve: Serve, given: bytes) -> None:
    commerce = await serve(commerce_token="töken")
    header = b"Authorization: " + given + b"\r\n\r\n"
    answer = await exchange(commerce, request("GET /user/1", header))
    assert answer.split()[1] == b"401"


@pytest.mark.parametrize("target", ["", "http://evil.example"])
@pytest.mark.parametrize("fragment", ["", "#x", "#>;rel=next,<http://evil.example"])
async def test_link__whatever_the_target_says__stays_on_this_host(
    commerce: Client, payable: None, target: str, fragment: str
) -> None:
    assert (await commerce.post("/invoices", json=INVOICE)).status == 201
    answer = await exchange(commerce, request(f"GET {target}/invoices?limit=1{fragment}", b"\r\n"))
    assert re.search(
        rb'\r\nLink: <http://x/invoices\?limit=1&cursor=[\w%-]+>; rel="next"\r\n', answer
    )


async def test_chunked__breaks_off_in_a_later_packet__400_at_once_and_once(
    commerce: Client,
) -> None:
    reader, writer = await asyncio.open_connection(commerce.host, commerce.port)
    writer.write(
        b"POST /invoices HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"nam\r\n'
    )

    def is_busy() -> bool:
        connections = server_of(commerce).connections
        return any(isinstance(one, ClientConnection) and not one.is_idle for one in connections)

    await until(is_busy)
    writer.write(b"zz\r\n\r\n")
    async with asyncio.timeout(10):  # half of what a body has to arrive
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"can't be read" in answer
    assert answer.count(b"HTTP/1.1") == 1
    writer.close()
