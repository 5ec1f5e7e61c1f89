"""The errors that a route may answer with, as the document describes them."""

from collections.abc import Iterator, Sequence

from rowlock import errors, rejections
from rowlock.errors import RowlockError
from rowlock.http.access import OPERATOR_PATHS
from rowlock.http.errors import BENEFITS_PREFIX, envelope, headers_of, problem
from rowlock.http.openapi.components import refer
from rowlock.http.openapi.shapes import (
    BENEFITS_ERROR,
    ERROR,
    JSON,
    PROBLEM,
    PROBLEM_DETAILS,
    REQUEST,
    JsonSchema,
    text,
)
from rowlock.http.rates import NEVER_LIMITED
from rowlock.http.routes import Route
from rowlock.http.service import Service
from rowlock.rejections import Rejection
from rowlock.settings import Settings

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def of(
    route: Route, service: Service, settings: Settings, *, takes_key: bool, takes_jwts: bool
) -> Iterator[type[RowlockError]]:
    """Yield the errors of a route: its own, and those that most routes have."""
    about = route.endpoint
    yield from about.refusals
    yield errors.InternalError
    if service.client_rate(settings) and about.template not in NEVER_LIMITED:
        yield errors.TooManyRequests
    if about.template in OPERATOR_PATHS:
        return
    if route.scope is not None:
        yield from (errors.Unauthorized, errors.ScopeMissing, errors.TooManyRequests)
        if takes_jwts:
            yield errors.SigningKeysUnavailable
    if about.method in WRITES:
        yield errors.CrossSiteRequest
    yield errors.InvalidRequest
    if about.query is not None and any(
        (one.data_key or name) == "cursor" for name, one in about.query.fields.items()
    ):
        yield errors.InvalidCursor
    if about.body is not None:
        yield from (errors.InvalidJson, errors.BodyTooLarge)
        yield errors.UnsupportedMediaType
    if takes_key:
        yield from (rejections.IdempotencyKeyReused, errors.BodyTooLarge)
    yield from (errors.Overloaded, errors.Draining)
    yield from (errors.DatabaseUnavailable, errors.DatabaseBusy)
    if about.method in WRITES:
        yield errors.OutcomeUnknown


def are_kept(kinds: Sequence[type[RowlockError]]) -> bool:
    """Tell whether an answer with one of `kinds` may be kept for an Idempotency-Key."""
    return any(
        issubclass(kind, Rejection) and kind is not rejections.IdempotencyKeyReused
        for kind in kinds
    )


def name_of(kinds: Sequence[type[RowlockError]], path: str, *, is_kept: bool) -> str:
    """Return the name of the response that is one of `kinds` at `path`."""
    names = [kind.__name__ for kind in kinds]
    if path.startswith(BENEFITS_PREFIX):
        names.insert(0, "Benefits")
    if is_kept:
        names.append("Replayable")
    return ".".join(names)


def describe(
    kinds: Sequence[type[RowlockError]], path: str, schemas: dict[str, JsonSchema]
) -> JsonSchema:
    """Return the response that is one of `kinds` at `path`, all of one status.

    Its schemas are added to `schemas`. One schema serves all errors, and the codes stand beside it:
    generators make a type of each schema, and of each enumeration in one.
    """
    samples = [kind(**kind.example) for kind in kinds]
    error = BENEFITS_ERROR if path.startswith(BENEFITS_PREFIX) else ERROR
    return {
        "description": "\n".join(f"`{one.code}`: {one.message}" for one in samples),
        "headers": {
            name: {"schema": text(value), "required": True}
            for name, value in headers_of(samples[0]).items()
        },
        "content": {
            JSON: {
                "schema": refer(error, schemas),
                "examples": {
                    sample.code: {"summary": sample.message, "value": envelope(sample, path)}
                    for sample in samples
                },
            },
            PROBLEM: {
                "schema": refer(PROBLEM_DETAILS, schemas),
                "example": problem(samples[0], path, REQUEST),
            },
        },
        "x-error-codes": [sample.code for sample in samples],
    }
