"""JSON as it must be: no NUL, no name given twice, no number out of range."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import orjson

from rowlock.errors import BodyTooLarge, InvalidJson, InvalidRequest
from rowlock.http.openapi.shapes import BIGINT_MAX

SMALLEST_FRACTION = 1e-20
ORJSON_MAX = 2.0**64 - 2**11  # the largest float that is an int for orjson, too
FLOAT = re.compile(rb"[0-9](?:[.eE]|[0-9]{17})")  # what no JSON is without that orjson reads as one
REPEATED = object()
MARKS = (b":", b",", b"{", b"[")
LISTED_PROBLEMS = 10
LISTED_PATH = 200  # characters: the client chooses the names


def parse(body: bytes) -> Any:
    """Return the JSON in `body`. Raises InvalidJson, or InvalidRequest for a NUL in a text."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidJson(f"The body is not valid JSON: {error}.") from None
    # PostgreSQL has no NUL in text. A raw one is not valid JSON; only an escape can carry one.
    if b"\\" in body and b"\\u0000" in body:  # the first test is far quicker
        nul = find(data, lambda value: isinstance(value, str) and "\0" in value)
        _refuse(nul, "Must not contain a NUL character.")
    return data


def canonical(body: bytes) -> bytes:
    """Return JSON in one form: without blanks, with sorted names, and 1 for 1.0 and 1e0.

    Malformed JSON is returned as it is, and so is JSON that is nested too deeply to be written.
    """
    try:
        document = [orjson.loads(body)]
        if FLOAT.search(body):
            _make_whole(document)
        return orjson.dumps(document[0], option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return body


def _make_whole(document: list[Any]) -> None:
    """Put integers in place of whole floats."""
    waiting: list[Any] = [document]
    for container in waiting:
        is_object = type(container) is dict
        for at, value in container.items() if is_object else enumerate(container):
            kind = type(value)
            if kind is float:
                if value.is_integer() and -BIGINT_MAX - 1 <= value <= ORJSON_MAX:
                    container[at] = int(value)
            elif kind is dict or kind is list:
                waiting.append(value)


def check_count(body: bytes, limit: int) -> None:
    """Raise BodyTooLarge if `body` may have more than `limit` values, names included.

    However short a value is, it takes up to 100 bytes of memory. Each has a mark before it. Marks
    in texts count as well, as it would take a parser to tell them apart.
    """
    if len(body) > limit and sum(map(body.count, MARKS)) > limit:
        raise BodyTooLarge(f"The body has more than {limit} values: send it in smaller parts.")


def check_names(body: bytes, data: Any) -> None:
    """Raise InvalidRequest if an object in `body` has a name twice: `data` keeps only the last.

    Each member has a colon. So `body` has as many colons as `data`, those in texts included, unless
    members were lost. An escaped colon could hide the loss, so it counts as a suspicion.
    """
    try:
        kept = orjson.dumps(data).count(b":")
    except orjson.JSONEncodeError:  # orjson reads deeper nesting than it writes
        raise InvalidRequest("The body is nested too deeply.") from None
    if body.count(b":") != kept or (b"\\" in body and b"\\u003a" in body.lower()):
        found: list[str] = []
        try:
            again = json.loads(body, object_pairs_hook=partial(_mark_repeated, found))
        except RecursionError:  # only a lost member can be nested so deeply
            raise InvalidRequest("The body is nested too deeply.") from None
        if found:
            _refuse(find(again, lambda value: value is REPEATED), "Must not be given twice.")


def invalid_request(problems: Iterable[tuple[str, list[str]]]) -> InvalidRequest:
    """Return the error that lists the first ten `problems` by their dotted paths."""
    rest = iter(problems)
    details = {_shorten(path): complaints for path, complaints in islice(rest, LISTED_PROBLEMS)}
    more = sum(1 for _ in rest)
    field, complaints = next(iter(details.items()))
    at = "" if field == "_schema" else f"{field}: "
    also = f" There are {more} more problems." if more else ""
    invalid = InvalidRequest(f"The request is not valid: {at}{complaints[0]}{also}")
    invalid.details = details  # not as keywords: the client chooses the names
    return invalid


def _shorten(path: str) -> str:
    return path if len(path) <= LISTED_PATH else f"{path[:LISTED_PATH]}…"


def _refuse(path: str | None, problem: str) -> None:
    if path is not None:
        raise invalid_request([(path, [problem])])


def find(data: Any, is_wrong: Callable[[Any], bool]) -> str | None:
    """Return the dotted path of the first name or value in parsed JSON that is wrong.

    Iterative, as orjson's nesting may exceed the recursion limit.
    """
    path: list[Any] = []
    open_ = [_members(data)]
    while open_:
        for name, value in open_[-1]:
            if is_wrong(name) or is_wrong(value):
                return ".".join(map(str, [*path, name]))
            if isinstance(value, dict | list):
                path.append(name)
                open_.append(_members(value))
                break
        else:
            open_.pop()
            del path[-1:]
    return None


def _members(data: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(data, dict):
        return iter(data.items())
    return iter(enumerate(data if isinstance(data, list) else ()))


def has_number_out_of_range(data: dict[str, Any] | list[Any]) -> bool:
    """Tell whether `data` has a number out of range, ten times as fast as `find`."""
    waiting: list[Any] = [data]
    for container in waiting:
        for value in container.values() if type(container) is dict else container:
            kind = type(value)
            if kind is str:
                continue
            if kind is int:
                if not -BIGINT_MAX - 1 <= value <= BIGINT_MAX:
                    return True
            elif kind is float:  # whole numbers beyond 64 bits are floats, too
                if value != 0 and not SMALLEST_FRACTION <= abs(value) < BIGINT_MAX:
                    return True
            elif kind is dict or kind is list:
                waiting.append(value)
    return False


def is_number_out_of_range(value: Any) -> bool:
    """Tell whether `value` is a number out of range."""
    return not isinstance(value, dict | list) and has_number_out_of_range([value])


def _mark_repeated(found: list[str], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object's members, or only the marked name if one is given twice."""
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            found.append(name)
            return {name: REPEATED}
        members[name] = value
    return members
