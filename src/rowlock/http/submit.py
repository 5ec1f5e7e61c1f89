"""How routes use lanes: to find what a request names, and to answer with a command's result."""

import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

import orjson
from aiohttp import web
from multidict import CIMultiDict

from rowlock.engine.lanes import Lane, WriteLane
from rowlock.engine.once import Digest, IdempotencyKey, KeptAnswer, Once
from rowlock.errors import InvalidRequest
from rowlock.http.answers import EMPTY_HEAD, JSON_HEAD, head
from rowlock.http.errors import in_form_asked, respond
from rowlock.http.etags import IF_MATCH, IF_NONE_MATCH
from rowlock.http.exchange import EXCHANGE, SHARED
from rowlock.http.intake import LARGE_BYTES, PRESS
from rowlock.http.request import path_id, read_bytes
from rowlock.http.strict_json import canonical
from rowlock.rejections import Missing, Rejection

IDEMPOTENCY_KEY = "Idempotency-Key"
IDEMPOTENCY_REPLAYED = "Idempotency-Replayed"
KEY_LENGTH = 255

# A structured field's string, as in draft-ietf-httpapi-idempotency-key-header, or bare text.
QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
PRINTABLE = re.compile(rf"[ -~]{{1,{KEY_LENGTH}}}")

JSON_OWN = orjson.dumps({"Content-Type": JSON_HEAD["Content-Type"]}).decode()

Id = TypeVar("Id", int, str)
Command = TypeVar("Command")
Result = TypeVar("Result")


async def find(lane: Lane[Id, Result | None], given: Id, missing: type[Missing]) -> Result:
    """Return what `lane` finds of the id `given`. Raises `missing`, and what the lane raises."""
    found = await lane.submit(given)
    if found is None:
        raise missing.of(given)
    return found


def find_by_path(
    request: web.Request, lane: Lane[int, Result | None], missing: type[Missing], name: str = "id"
) -> Awaitable[Result]:
    """Return what `lane` finds of the id in the path. Raises as `find` and `path_id` do."""
    return find(lane, path_id(request, missing, name), missing)


async def submit(
    request: web.Request,
    lane: WriteLane[Command, Result | Rejection],
    command: Command,
    present: Callable[[Result], web.Response],
    *,
    shows: Callable[[Result], int] | None = None,
) -> web.Response:
    """Submit `command` and return the answer; with an Idempotency-Key, execute it only once.

    `present` turns a result that is not a rejection into the answer. It must be pure: with a key,
    it is called inside the transaction. If the answer has a user's names or address, `shows` must
    return the user's id, and the transaction must have locked or created the user: anonymising it
    removes them from the kept answer. Raises InvalidRequest for a malformed key, and what the lane
    raises.
    """
    if IDEMPOTENCY_KEY in request.headers:
        return await _submit_once(request, lane, command, present, shows)
    return _answer(request, await lane.submit(command), present)


async def submit_unkept(
    request: web.Request,
    lane: WriteLane[Command, Result | Rejection],
    command: Command,
    present: Callable[[Result], web.Response],
) -> web.Response:
    """Submit `command` and return the answer, which is too secret to be kept for a repetition.

    Raises what the lane raises.
    """
    return _answer(request, await lane.submit(command), present)


async def _submit_once(
    request: web.Request,
    lane: WriteLane[Command, Result | Rejection],
    command: Command,
    present: Callable[[Result], web.Response],
    shows: Callable[[Result], int] | None,
) -> web.Response:
    response = None  # of the last attempt of the transaction

    # Quoted, or Python would make the type anew for each request.
    def render(result: "Result | Rejection") -> KeptAnswer:
        nonlocal response
        # Plainly, as the form is for each repetition to choose.
        if isinstance(result, Rejection):
            response = respond(result, request, is_plain=True)
        else:
            response = present(result)
        body = response.body
        assert body is None or isinstance(body, bytes)
        user_id = None if shows is None or isinstance(result, Rejection) else shows(result)
        headers = _own_headers(response.headers)
        return KeptAnswer(response.status, headers, body or b"", user_id=user_id)

    key = IdempotencyKey(_name_space(request), _read_key(request))
    kept = await lane.submit_once(Once(command, key, await _digest(request), render))
    if isinstance(kept, Rejection):
        return respond(kept, request)
    if not kept.is_replay:
        assert response is not None  # of this request, which the lane has executed
        return in_form_asked(response, request)
    headers = head({**orjson.loads(kept.headers), IDEMPOTENCY_REPLAYED: "true"})
    response = web.Response(status=kept.status, headers=headers, body=kept.body or None)
    return in_form_asked(response, request)


def _answer(
    request: web.Request, result: Result | Rejection, present: Callable[[Result], web.Response]
) -> web.Response:
    # Not raised: a raised exception in a local variable is a reference cycle.
    return respond(result, request) if isinstance(result, Rejection) else present(result)


def _own_headers(headers: CIMultiDict[str]) -> str:
    """Return, as JSON, the headers that not every answer has."""
    if headers == JSON_HEAD:
        return JSON_OWN  # as most answers
    own = {str(name): text for name, text in headers.items() if name not in EMPTY_HEAD}
    return orjson.dumps(own).decode()


def _name_space(request: web.Request) -> str:
    """Return the name space of the request's keys: callers that can be told apart share none."""
    exchange = request[EXCHANGE]
    if exchange.key is not None:  # by its id: another key may get its name
        return f"{exchange.service} key:{exchange.key.id}"
    actor = exchange.actor
    return exchange.service if actor in SHARED else f"{exchange.service} {actor}"


def _read_key(request: web.Request) -> str:
    values = request.headers.getall(IDEMPOTENCY_KEY)
    key = values[0]
    is_broken = False
    if key.startswith('"'):
        quoted = QUOTED.fullmatch(key)
        is_broken = quoted is None
        key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else key
    if is_broken or len(values) > 1 or not PRINTABLE.fullmatch(key):
        raise InvalidRequest(
            f"{IDEMPOTENCY_KEY} must be one text of 1 to {KEY_LENGTH} printable ASCII characters, "
            "bare or quoted."
        )
    return key


async def _digest(request: web.Request) -> Digest:
    """Return the SHA-256s of what a replayed request must have in common with the first."""
    headers = request.headers
    texts = [request.method, request.raw_path, *headers.getall(IF_MATCH, ())]
    # If-Match has no name here: digests stored before If-None-Match was supported must still match.
    texts += [f"{IF_NONE_MATCH}: {tags}" for tags in headers.getall(IF_NONE_MATCH, ())]
    start = ("\0".join(texts) + "\0").encode("utf-8", "surrogateescape")
    body = await read_bytes(request)
    if len(body) <= LARGE_BYTES:
        normal = canonical(body)
    else:
        async with request.app[PRESS].turn():
            normal = canonical(body)
    exact = hashlib.sha256(start + body).digest()
    return Digest(exact, exact if normal == body else hashlib.sha256(start + normal).digest())
