"""Forms: what they carry, and commands that take effect once however often a form is sent.

A key is drawn when a form is made. A form that is sent twice, by a double click, a reload or the
back button, gets the first outcome again. Keys of the console are in the name space `console`.
"""

import hashlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl

import marshmallow
import orjson
from aiohttp import web

from rowlock import texts
from rowlock.engine.lanes import WriteLane
from rowlock.engine.once import Digest, IdempotencyKey, KeptAnswer, Once
from rowlock.errors import InvalidRequest, UnsupportedMediaType
from rowlock.http.request import read_bytes
from rowlock.rejections import Rejection

FORM = "application/x-www-form-urlencoded"
MOST_FIELDS = 1000
KEY = "key"

Command = TypeVar("Command")
Result = TypeVar("Result")


class Outcome(NamedTuple):
    """What a visitor is told of what a form has done, and on which page."""

    to: str  # a path
    text: str
    is_good: bool = True


@dataclass(frozen=True, slots=True)
class Form:
    """A form as it was sent."""

    given: Mapping[str, str]  # by field; the last one of several
    lists: Mapping[str, list[str]]  # all texts of each field
    values: Mapping[str, Any] = field(default_factory=dict)  # as a schema has loaded them
    errors: Mapping[str, str] = field(default_factory=dict)  # by field, in words

    @property
    def key(self) -> str:
        """The key that was drawn when the form was made. Raises InvalidRequest."""
        try:
            return str(uuid.UUID(self.given.get(KEY, "")))
        except ValueError:
            raise InvalidRequest("The form has no key: open its page again.") from None

    def part(self, name: str) -> "Form":
        """Return the form as it is for one of several commands: with a key of its own."""
        key = str(uuid.uuid5(uuid.UUID(self.key), name))
        return replace(self, given={**self.given, KEY: key})


def draw_key() -> str:
    """Return the key of a new form."""
    return str(uuid.uuid4())


async def read_form(request: web.Request, schema: marshmallow.Schema | None = None) -> Form:
    """Return the form that a request carries, as `schema` loads its fields.

    Fields that were left empty are missing for the schema. Raises as `read_bytes` does.
    """
    if request.content_type != FORM:
        raise UnsupportedMediaType(f"A form is sent as {FORM}.")
    body = await read_bytes(request)
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError:
        raise InvalidRequest("The form can't be read.") from None
    if any(texts.CONTROL_BUT_LINES.search(part) for pair in pairs for part in pair):
        raise InvalidRequest("The form has control characters.")
    lists: dict[str, list[str]] = {}
    for name, text in pairs:
        lists.setdefault(name, []).append(text)
    given = {name: each[-1] for name, each in lists.items()}
    if schema is None:
        return Form(given, lists)
    values, errors = load(schema, {name: text for name, text in given.items() if name != KEY})
    return Form(given, lists, values, errors)


def load(
    schema: marshmallow.Schema, given: Mapping[str, str]
) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Return what `schema` loads of texts that are not blank, and what is wrong with which."""
    present = {name: text.strip() for name, text in given.items() if text.strip()}
    try:
        return schema.load(present), {}
    except marshmallow.ValidationError as error:
        messages: Any = error.messages
        problems = {str(name): _first(each) for name, each in messages.items()}
        return error.valid_data if isinstance(error.valid_data, dict) else {}, problems


def _first(messages: Any) -> str:
    while not isinstance(messages, str):
        messages = next(iter(messages.values() if isinstance(messages, dict) else messages))
    return messages


async def submit_form(
    request: web.Request,
    form: Form,
    lane: WriteLane[Command, Result | Rejection],
    command: Command,
    *,
    name_space: str,
    present: Callable[[Result | Rejection], Outcome],
) -> Outcome:
    """Submit a command once for the key of the form; return the outcome, perhaps a former one's.

    `present` must be pure: it is called inside the transaction. Raises InvalidRequest for a form
    without a key, IdempotencyKeyReused for one whose fields have changed, and what the lane raises.
    """

    def render(result: "Result | Rejection") -> KeptAnswer:
        return KeptAnswer(303, "{}", orjson.dumps(present(result)._asdict()))

    key = IdempotencyKey(name_space, form.key)
    fields = orjson.dumps([request.path, form.lists], option=orjson.OPT_SORT_KEYS)
    digest = hashlib.sha256(fields).digest()
    kept = await lane.submit_once(Once(command, key, Digest(digest, digest), render))
    if isinstance(kept, Rejection):
        raise kept
    return Outcome(**orjson.loads(kept.body))
