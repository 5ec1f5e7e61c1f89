"""HTTP ↔ command: API keys."""

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import marshmallow
from aiohttp import web
from marshmallow import fields

from rowlock.errors import ScopeMissing
from rowlock.http.access import MANAGES_KEYS, check_key_manager, origin_of
from rowlock.http.answers import no_content, reply
from rowlock.http.bodies import Body
from rowlock.http.exchange import EXCHANGE
from rowlock.http.fields import Instant, Integer, JsonArray, with_schema
from rowlock.http.openapi.shapes import (
    AnswerShape,
    array,
    created,
    instant,
    integer,
    nullable,
    record,
    text,
)
from rowlock.http.paging import PageQuery, paginate
from rowlock.http.request import (
    EMPTY_BODY,
    read_body,
    read_empty_body,
    read_optional_body,
    read_query,
)
from rowlock.http.routes import Routes, route
from rowlock.http.strict_json import invalid_request
from rowlock.http.submit import find, submit, submit_unkept
from rowlock.keys import Keys
from rowlock.keys.credentials import hash_of, new_secret
from rowlock.keys.rules import (
    LONGEST_OVERLAP,
    MOST_SCOPES,
    NAME_PATTERN,
    NAME_RULE,
    RATE_LIMIT,
    SCOPE_PATTERN,
    CreateKey,
    Key,
    RevokeKey,
    RotateKey,
    is_name,
    refuse_grant,
    unknown_scopes,
)
from rowlock.rejections import KeyExpired, KeyNameTaken, KeyNotFound, TooManySecrets

DAY_S = 86_400
NAME = text("partner", pattern=NAME_PATTERN)


class Matching(fields.Field[str]):
    """A text that a pattern matches as a whole."""

    def __init__(self, pattern: str, problem: str, example: str, **kwargs: Any) -> None:
        super().__init__(**with_schema(kwargs, **text(example, pattern=pattern)))
        self._pattern = re.compile(pattern.removesuffix("$") + r"\Z")
        self._problem = problem

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if not isinstance(value, str) or not self._pattern.match(value):
            raise marshmallow.ValidationError(self._problem)
        return value


class KeyBody(Body):
    """`{"name": "partner", "scopes": ["invoices:write"]}`."""

    name = Matching(NAME_PATTERN, NAME_RULE, "partner", required=True)
    scopes = JsonArray(
        Matching(SCOPE_PATTERN, "Must be a scope, such as keys:write.", MANAGES_KEYS),
        longest=MOST_SCOPES,
        required=True,
        metadata={"uniqueItems": True},
    )
    rate = Integer(maximum=RATE_LIMIT, load_default=None)
    expires_at = Instant(load_default=None)


class RotationBody(Body):
    """`{"overlap_s": 3600}`, or nothing."""

    overlap_s = Integer(
        minimum=0, maximum=LONGEST_OVERLAP // timedelta(seconds=1), load_default=None
    )


KEY_BODY = KeyBody()
ROTATION_BODY = RotationBody()
PAGE_QUERY = PageQuery()

KEY = record(
    "Key",
    id=integer(1),
    name=NAME,
    scopes=array(text(MANAGES_KEYS, pattern=SCOPE_PATTERN)),
    rate=nullable(integer(50)),
    created_at=instant(),
    created_by=text("token"),
    expires_at=nullable(instant()),
    old_secret_until=nullable(instant()),
)
SECRET = text("rk_" + 64 * "0", pattern="^rk_[0-9a-f]{64}$")
NEW_KEY = record("NewKey", **KEY["properties"], secret=SECRET)
NEW_SECRET = record("NewSecret", name=NAME, secret=SECRET)


class KeyRoutes(Routes):
    """The API keys of a service.

    A key that manages them gives away the scopes that it has, and no others. The answers with a
    secret are not kept for an Idempotency-Key. They need not be: a name is taken once, and a
    rotation that is repeated leaves all secrets valid for the overlap.
    """

    tag = "keys"

    def __init__(self, keys: Keys, scopes: Collection[str]) -> None:
        self._keys = keys
        self._scopes = scopes

    @route(
        "POST",
        "/keys",
        {201: created(NEW_KEY, at="/keys/partner")},
        KeyNameTaken,
        ScopeMissing,
        body=KEY_BODY,
        example={"name": "partner", "scopes": [MANAGES_KEYS], "rate": 50},
        scope=MANAGES_KEYS,
        takes_key=False,
    )
    async def create_key(self, request: web.Request) -> web.Response:
        """Create an API key.

        The answer shows its secret this once. The key may do what its `scopes` say, up to `rate`
        requests a second in each process, until `expires_at`. A key can only give scopes that it
        has.
        """
        check_key_manager(request)
        body = await read_body(request, KEY_BODY)
        self._check(body)
        _check_grant(request, body["scopes"])
        secret = new_secret()
        command = CreateKey(**body, hash=hash_of(secret), origin=origin_of(request))

        def present(key: Key) -> web.Response:
            headers = {"Location": f"/keys/{key.name}"}
            return reply(key._asdict() | {"secret": secret}, status=201, headers=headers)

        return await submit_unkept(request, self._keys.create, command, present)

    def _check(self, body: dict[str, Any]) -> None:
        """Raise InvalidRequest if a key can't be like this."""
        problems = unknown_scopes(body["scopes"], self._scopes)
        wrong = {f"scopes.{at}": [problem] for at, problem in problems.items()}
        expires_at = body["expires_at"]
        if expires_at is not None and expires_at <= datetime.now(UTC):
            wrong["expires_at"] = ["Must not be past."]
        if wrong:
            raise invalid_request(wrong.items())

    @route("GET", "/keys", {200: array(KEY)}, query=PAGE_QUERY, scope=MANAGES_KEYS)
    async def list_keys(self, request: web.Request) -> web.Response:
        """List API keys, newest first.

        Those that have expired are among them.
        """
        check_key_manager(request)
        query = read_query(request, PAGE_QUERY)
        limit = query["limit"]
        keys = await self._keys.list_page(before=query["before"], page_size=limit + 1)
        page, headers = paginate(request, keys, limit, lambda key: str(key.id))
        return reply([key._asdict() for key in page], headers=headers)

    @route(
        "GET",
        "/keys/{name}",
        {200: KEY},
        KeyNotFound,
        parameters={"name": NAME},
        scope=MANAGES_KEYS,
    )
    async def get_key(self, request: web.Request) -> web.Response:
        """Get an API key, without its secret."""
        check_key_manager(request)
        return reply((await self._find(request))._asdict())

    @route(
        "POST",
        "/keys/{name}/rotate",
        {200: NEW_SECRET},
        KeyNotFound,
        KeyExpired,
        TooManySecrets,
        ScopeMissing,
        parameters={"name": NAME},
        body=ROTATION_BODY,
        example={"overlap_s": DAY_S},
        scope=MANAGES_KEYS,
        takes_key=False,
    )
    async def rotate_key(self, request: web.Request) -> web.Response:
        """Give an API key a new secret.

        The answer shows it this once. The old one is valid for `overlap_s` more, a day unless said
        otherwise. At most 10 are valid at once: `overlap_s` 0 ends all others.
        """
        check_key_manager(request)
        body = await read_optional_body(request, ROTATION_BODY)
        key = await self._find(request)
        _check_grant(request, key.scopes)  # who gets its secret can do what it can
        secret = new_secret()
        overlap_s = body["overlap_s"]
        overlap = timedelta(seconds=DAY_S if overlap_s is None else overlap_s)
        command = RotateKey(key.name, hash_of(secret), overlap, key.id, origin_of(request))
        return await submit_unkept(
            request,
            self._keys.rotate,
            command,
            lambda _: reply({"name": key.name, "secret": secret}),
        )

    @route(
        "DELETE",
        "/keys/{name}",
        {204: AnswerShape()},
        KeyNotFound,
        parameters={"name": NAME},
        body=EMPTY_BODY,
        example={},
        scope=MANAGES_KEYS,
    )
    async def revoke_key(self, request: web.Request) -> web.Response:
        """Revoke an API key.

        Every process refuses it within a few seconds.
        """
        check_key_manager(request)
        command = RevokeKey(_name_in(request), origin_of(request))
        await read_empty_body(request)
        return await submit(request, self._keys.revoke, command, no_content)

    async def _find(self, request: web.Request) -> Key:
        return await find(self._keys.find, _name_in(request), KeyNotFound)


def _name_in(request: web.Request) -> str:
    """Return the name in the path. Raises KeyNotFound if no key can be called so."""
    name = request.match_info["name"]
    if not is_name(name):
        raise KeyNotFound.of(name)
    return name


def _check_grant(request: web.Request, scopes: Collection[str]) -> None:
    """Raise ScopeMissing unless the caller has all of `scopes`."""
    key = request[EXCHANGE].key
    refusal = refuse_grant(scopes, None if key is None else key.scopes)
    if refusal is not None:
        raise refusal
