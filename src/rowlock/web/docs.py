"""The OpenAPI document of a service: `/openapi.json`, and `/docs` to read it in a browser.

Each handler says with `describe` what it takes and answers. All that follows from its route is
added here: parameters and headers that many have, errors, security.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from importlib.metadata import version
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

import marshmallow
from aiohttp import web
from aiohttp.typedefs import Handler
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from rowlock import exceptions
from rowlock.exceptions import InvalidRequest, Rejection, RowlockError
from rowlock.settings import Settings
from rowlock.web import docs_page, errors
from rowlock.web.access import METRICS_PATH, OPERATOR_PATHS, PUBLIC_PATHS
from rowlock.web.auth0 import Tenant
from rowlock.web.bodies import BIGINT_MAX
from rowlock.web.boundary import REQUEST_ID
from rowlock.web.commit import IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, KEY_LENGTH
from rowlock.web.replies import JSON, reply
from rowlock.web.service import SERVICE, SETTINGS, Service

JsonSchema = dict[str, Any]
AnyHandler = TypeVar("AnyHandler", bound=Handler)

DESCRIPTION = """
Bodies are JSON. Unknown fields and parameters, wrong types and numbers out of range are refused.
GET routes answer HEAD too, but for streams; any other method is answered 405, with `Allow`,
and what is no method of HTTP 400.

Lists are arrays. The way to the next page is in the `Link` header.
"""
KEYS_DESCRIPTION = """
A POST, PUT or DELETE whose outcome is unknown, because the connection broke or a 503 came, can be
sent again: with the same `Idempotency-Key`, it takes effect once.
"""

FOLLOWING = {"limit": "limit=20&cursor=MTAw", "page": "page=2"}  # how lists go on, by parameter
WRITES = frozenset({"POST", "PUT", "DELETE"})
# A key, bare or quoted: `commit` takes no other.
KEY_PATTERN = (
    rf'^([!#-~]([ -~]{{0,{KEY_LENGTH - 2}}}[!-~])?|"([ !#-\[\]-~]|\\["\\]){{1,{KEY_LENGTH}}}")$'
)

# --- shapes: JSON Schemas of what answers hold, each with an example ----------------------------


def integer(example: int, *, minimum: int = 1, maximum: int = BIGINT_MAX) -> JsonSchema:
    """Return the shape of a whole number, such as an id."""
    return {"type": "integer", "minimum": minimum, "maximum": maximum, "examples": [example]}


def number(example: float) -> JsonSchema:
    """Return the shape of a number of at least 0."""
    return {"type": "number", "minimum": 0, "examples": [example]}


def text(example: str, **keywords: Any) -> JsonSchema:
    """Return the shape of a text."""
    return {"type": "string", **keywords, "examples": [example]}


def instant(example: str = "2026-11-21T09:30:00.250000Z") -> JsonSchema:
    """Return the shape of a time."""
    return text(example, format="date-time")


def choice(*values: str) -> JsonSchema:
    """Return the shape of one of some texts."""
    return {"type": "string", "enum": [*values], "examples": [values[0]]}


def flag(example: bool) -> JsonSchema:
    """Return the shape of a boolean."""
    return {"type": "boolean", "examples": [example]}


def nullable(shape: JsonSchema) -> JsonSchema:
    """Return the shape of something that may be null."""
    return {**shape, "type": [shape["type"], "null"]}


def array(items: JsonSchema, **keywords: Any) -> JsonSchema:
    """Return the shape of an array."""
    return {"type": "array", "items": items, **keywords}


def record(title: str, /, *, optional: Sequence[str] = (), **properties: JsonSchema) -> JsonSchema:
    """Return the shape of an object, known in the document by its title."""
    return {
        "title": title,
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def example_of(shape: JsonSchema) -> Any:
    """Return the example that a shape makes up of its parts'."""
    if "examples" in shape:
        return shape["examples"][0]
    if shape["type"] == "array":
        return [example_of(shape["items"])]
    return {name: example_of(shape["properties"][name]) for name in shape["required"]}


# --- what handlers say of themselves ------------------------------------------------------------


class Answer(NamedTuple):
    """An answer that is more, or less, than JSON."""

    shape: JsonSchema | None = None
    media: str = JSON
    headers: Mapping[str, JsonSchema] = {}


def created(shape: JsonSchema, at: str, **headers: JsonSchema) -> Answer:
    """Return the answer that shows what was created, and where it is."""
    return Answer(shape, headers={"Location": text(at), **headers})


@dataclass(frozen=True, slots=True)
class Description:
    """What a handler takes and answers, as far as it does not follow from its route."""

    answers: Mapping[int, JsonSchema | Answer]  # by status
    refusals: tuple[type[RowlockError], ...]
    body: marshmallow.Schema | None
    example: Any  # of the body
    query: marshmallow.Schema | None
    path: Mapping[str, JsonSchema]
    headers: Mapping[str, JsonSchema]  # of the request
    security: Mapping[str, JsonSchema]  # schemes instead of the service's, any of which will do


_descriptions: dict[Handler, Description] = {}


def describe(
    answers: Mapping[int, JsonSchema | Answer],
    *refusals: type[RowlockError],
    body: marshmallow.Schema | None = None,
    example: Any = None,
    query: marshmallow.Schema | None = None,
    path: Mapping[str, JsonSchema] | None = None,
    headers: Mapping[str, JsonSchema] | None = None,
    security: Mapping[str, JsonSchema] | None = None,
) -> Callable[[AnyHandler], AnyHandler]:
    """Return the decorator that keeps this description of a handler.

    `refusals` are the errors of its own: those that any route may answer with are added.
    """
    description = Description(
        answers, refusals, body, example, query, path or {}, headers or {}, security or {}
    )

    def keep(handler: AnyHandler) -> AnyHandler:
        _descriptions[handler] = description
        return handler

    return keep


@web.middleware
def refuse_query(request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
    """Refuse a query string where the handler takes none; those that take one check it.

    Operators may ask as they like. It is no coroutine, as most requests have no query.
    """
    if "?" in request.raw_path and request.query_string and request.path not in OPERATOR_PATHS:
        description = _descriptions.get(request.match_info.handler)  # None: it will answer 404
        if description is not None and description.query is None:
            raise InvalidRequest("This address takes no parameters.")
    return handler(request)


# --- the document -------------------------------------------------------------------------------


def build(app: web.Application) -> dict[str, Any]:
    """Return the OpenAPI document of an application. Raises KeyError for a handler without one."""
    return _Builder(app).document()


@dataclass(slots=True)
class _Operation:
    """A route, as the document needs to know it."""

    method: str
    path: str
    handler: Handler
    about: Description
    takes_key: bool

    @property
    def tag(self) -> str:
        _, package, *_ = self.handler.__module__.split(".")
        return "system" if package == "web" else package.replace("_", " ")

    @property
    def id(self) -> str:
        return f"{self.tag} {self.handler.__name__}".replace(" ", "_")


@dataclass(slots=True)
class _Builder:
    app: web.Application
    plugin: MarshmallowPlugin = field(
        # Bodies stand where they are used: their names are of their features' own.
        default_factory=lambda: MarshmallowPlugin(schema_name_resolver=lambda _: "")
    )
    spec: APISpec = field(init=False)

    @property
    def service(self) -> Service:
        return self.app[SERVICE]

    @property
    def settings(self) -> Settings:
        return self.app[SETTINGS]

    def document(self) -> dict[str, Any]:
        operations = [*self._operations()]
        schemes = self._schemes()
        keys = KEYS_DESCRIPTION if self.service.takes_keys else ""
        self.spec = APISpec(
            title=f"Rowlock {self.service.name}",
            version=version("rowlock"),
            openapi_version="3.1.0",
            info={"description": (DESCRIPTION + keys).strip()},
            plugins=[self.plugin],
            tags=[{"name": name} for name in dict.fromkeys(one.tag for one in operations)],
            security=[{name: []} for name in schemes],
        )
        for name, scheme in schemes.items():
            self.spec.components.security_scheme(name, scheme)
        self._add_shared()
        for operation in operations:
            described = self._describe(operation)
            self.spec.path(operation.path, operations={operation.method.lower(): described})
        return self.spec.to_dict()

    def _operations(self) -> Iterator[_Operation]:
        for route in self.app.router.routes():
            if route.method == "HEAD":
                continue
            assert route.resource is not None
            yield _Operation(
                route.method,
                route.resource.canonical,
                route.handler,
                _descriptions[route.handler],
                takes_key=route.method in WRITES and self.service.takes_keys,
            )

    def _schemes(self) -> dict[str, JsonSchema]:
        """Return what any route wants, but for those in `access`."""
        if self.service.token(self.settings) is None:
            return {}
        schemes = {"token": {"type": "http", "scheme": "bearer"}}
        if self._takes_jwts():
            schemes["auth0"] = {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": f"An access token of {self.settings.auth0_domain}, "
                f"for the audience {self.settings.auth0_audience}.",
            }
        return schemes

    def _scraper_security(self) -> list[dict[str, list[str]]]:
        """Return what `access.check_scraper` wants."""
        if self.settings.metrics_token is not None:
            scheme = {"type": "http", "scheme": "bearer", "description": "For /metrics alone."}
            self.spec.components.security_scheme("metricsToken", scheme)
            return [{"metricsToken": []}]
        return [{"token": []}] if self.service.token(self.settings) is not None else []

    def _takes_jwts(self) -> bool:
        return self.service.takes_jwts and Tenant.of(self.settings) is not None

    def _add_shared(self) -> None:
        components = self.spec.components
        components.parameter(
            "RequestId",
            "header",
            {
                "name": REQUEST_ID,
                "description": "Comes back with the answer, and is in the logs. One that is not "
                "1 to 128 of A-Z a-z 0-9 . _ : / + = - is replaced.",
                "schema": text("01JDB2M4X8"),
            },
        )
        components.header(
            "RequestId",
            {"description": "The caller's, or a new one.", "schema": text("01JDB2M4X8")}
            | {"required": True},
        )
        if self.service.takes_keys:
            components.parameter(
                "IdempotencyKey",
                "header",
                {
                    "name": IDEMPOTENCY_KEY,
                    "description": f"1 to {KEY_LENGTH} printable ASCII characters, bare or quoted: "
                    "however often the request is sent with it, it takes effect once.",
                    "schema": text("order-2026-11-21-0001", pattern=KEY_PATTERN),
                },
            )
            components.header(
                "IdempotencyReplayed",
                {
                    "description": f"There if this is the answer to an earlier request with this "
                    f"{IDEMPOTENCY_KEY}.",
                    "schema": choice("true"),
                },
            )

    def _describe(self, operation: _Operation) -> dict[str, Any]:
        about = operation.about
        summary, _, description = (inspect.getdoc(operation.handler) or "").partition("\n\n")
        described: dict[str, Any] = {
            "operationId": operation.id,
            "summary": summary,
            "tags": [operation.tag],
            "parameters": [*self._parameters(operation)],
            "responses": self._responses(operation),
        }
        if description:
            described["description"] = description
        if about.body is not None:
            described["requestBody"] = {
                "required": any(one.required for one in about.body.fields.values()),
                "content": {JSON: {"schema": about.body, "example": about.example}},
            }
        if operation.path in PUBLIC_PATHS:
            described["security"] = []
        elif operation.path == METRICS_PATH:
            described["security"] = self._scraper_security()
        elif about.security:
            for name, scheme in about.security.items():
                self.spec.components.security_scheme(name, scheme)
            described["security"] = [{name: []} for name in about.security]
        return described

    def _parameters(self, operation: _Operation) -> Iterator[JsonSchema | str]:
        about = operation.about
        for part in operation.path.split("/"):
            if part.startswith("{"):
                name = part[1:-1]
                shape = about.path.get(name) or integer(1)
                yield {"name": name, "in": "path", "required": True, "schema": shape}
        if about.query is not None:
            assert self.plugin.converter is not None
            for parameter in self.plugin.converter.schema2parameters(about.query, location="query"):
                _tidy(parameter["schema"])
                yield parameter
        for name, shape in about.headers.items():
            yield {"name": name, "in": "header", "schema": shape}
        if operation.takes_key:
            yield "IdempotencyKey"
        yield "RequestId"

    def _responses(self, operation: _Operation) -> dict[str, Any]:
        responses: dict[str, Any] = {
            str(status): self._answer(operation, status, answer)
            for status, answer in operation.about.answers.items()
        }
        refusals = sorted(
            dict.fromkeys(self._refusals(operation)), key=lambda kind: errors.status_of(kind())
        )
        for status, kinds in groupby(refusals, key=lambda kind: errors.status_of(kind())):
            responses[str(status)] = self._refusal(operation, [*kinds])
        return responses

    def _answer(
        self, operation: _Operation, status: int, answer: JsonSchema | Answer
    ) -> dict[str, Any]:
        if not isinstance(answer, Answer):
            answer = Answer(answer)
        headers: dict[str, Any] = {
            name: {"schema": shape, "required": True} for name, shape in answer.headers.items()
        }
        query = operation.about.query.fields if operation.about.query else {}
        for name, following in FOLLOWING.items():
            if name in query:
                address = re.sub("{.*}", "1", operation.path)
                headers["Link"] = {
                    "description": "To other pages (RFC 8288), where there are any.",
                    "schema": text(f'<{address}?{following}>; rel="next"'),
                }
        response = {
            "description": HTTPStatus(status).phrase,
            "headers": headers | self._shared_headers(replayable=operation.takes_key),
        }
        if answer.shape is not None:
            content = {"schema": self._refer(answer.shape), "example": example_of(answer.shape)}
            response["content"] = {answer.media: content}
        return response

    def _shared_headers(self, *, replayable: bool) -> dict[str, Any]:
        replayed = {IDEMPOTENCY_REPLAYED: "IdempotencyReplayed"} if replayable else {}
        return {REQUEST_ID: "RequestId", **replayed}

    def _refer(self, shape: JsonSchema) -> JsonSchema:
        """Return `shape` with each object in it that has a title as a reference."""
        if "items" in shape:
            return {**shape, "items": self._refer(shape["items"])}
        if "properties" not in shape:
            return shape
        properties = {name: self._refer(part) for name, part in shape["properties"].items()}
        title, component = shape["title"], {**shape, "properties": properties}
        if self.spec.components.schemas.setdefault(title, component) != component:
            raise ValueError(f"There are two shapes called {title}.")
        return {"$ref": f"#/components/schemas/{title}"}

    def _refusals(self, operation: _Operation) -> Iterator[type[RowlockError]]:
        about = operation.about
        yield from about.refusals
        yield exceptions.InternalError
        if operation.path in OPERATOR_PATHS:
            return
        if self.service.token(self.settings) is not None:
            yield exceptions.Unauthorized
            if self._takes_jwts() and not about.security:
                yield exceptions.SigningKeysUnavailable
        yield exceptions.InvalidRequest
        if about.query is not None and any(
            (one.data_key or name) == "cursor" for name, one in about.query.fields.items()
        ):
            yield exceptions.InvalidCursor
        if about.body is not None:
            yield from (exceptions.InvalidJson, exceptions.BodyTooLarge)
            yield exceptions.UnsupportedMediaType
        if operation.takes_key:
            yield from (exceptions.IdempotencyKeyReused, exceptions.BodyTooLarge)
        yield from (exceptions.Overloaded, exceptions.Draining)
        yield from (exceptions.DatabaseUnavailable, exceptions.DatabaseBusy)
        if operation.method in WRITES:
            yield exceptions.OutcomeUnknown

    def _refusal(self, operation: _Operation, kinds: Sequence[type[RowlockError]]) -> str:
        """Return the name of the response that is one of `kinds`, all of one status."""
        replayable = operation.takes_key and any(
            issubclass(kind, Rejection) and kind is not exceptions.IdempotencyKeyReused
            for kind in kinds
        )
        names = [kind.__name__ for kind in kinds]
        if operation.path.startswith(errors.BENEFITS_PREFIX):
            names.insert(0, "Benefits")
        if replayable:
            names.append("Replayable")
        name = ".".join(names)
        if name not in self.spec.components.responses:
            samples = [kind(**kind.example) for kind in kinds]
            envelopes = [errors.envelope(sample, operation.path) for sample in samples]
            headers = {
                header: {"schema": text(value), "required": True}
                for header, value in errors.headers(samples[0], self.settings).items()
            }
            content = {
                "schema": _schema_of(envelopes),
                "examples": {
                    sample.code: {"summary": sample.message, "value": envelope}
                    for sample, envelope in zip(samples, envelopes, strict=True)
                },
            }
            self.spec.components.response(
                name,
                {
                    "description": "\n".join(f"`{one.code}`: {one.message}" for one in samples),
                    "headers": headers | self._shared_headers(replayable=replayable),
                    "content": {JSON: content},
                },
            )
        return name


def _schema_of(envelopes: Sequence[Mapping[str, Any]]) -> JsonSchema:
    """Return the schema of errors that look like these, with details and messages of any kind."""
    free = {"message": {"type": "string"}, "details": {"type": "object"}}
    return {
        "type": "object",
        "properties": {
            name: free.get(name)
            or {"type": "string", "enum": [*dict.fromkeys(one[name] for one in envelopes)]}
            for name in envelopes[0]
        },
        "required": [*envelopes[0]],
        "additionalProperties": False,
    }


def _tidy(schema: JsonSchema) -> None:
    """Take from a parameter's schema what stands for its absence, and add an example."""
    if isinstance(schema["type"], list):
        schema["type"], _null = schema["type"]
    if "enum" in schema:
        schema["enum"] = [value for value in schema["enum"] if value is not None]
    # Other defaults are how a feature says that there was no such parameter.
    kind = {"integer": int, "string": str}[schema["type"]]
    if not isinstance(schema.get("default"), kind):
        schema.pop("default", None)
    if "examples" not in schema:
        [example, *_] = [schema[key] for key in ("default", "minimum") if key in schema] or schema[
            "enum"
        ]
        schema["examples"] = [example]


# --- served -------------------------------------------------------------------------------------


class Documents:
    """The document and its page, made once."""

    def __init__(self, app: web.Application) -> None:
        self._app = app

    def make(self) -> None:
        """Make them now, and not when the first one asks and others wait."""
        _ = self.page

    @cached_property
    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return build(self._app)

    @cached_property
    def page(self) -> str:
        """The document as HTML."""
        return docs_page.render(self.openapi)


DOCUMENTS = web.AppKey("documents", Documents)
ROUTES = web.RouteTableDef()


@ROUTES.get("/openapi.json")
@describe({200: {"type": "object", "examples": [{"openapi": "3.1.0"}]}})
async def get_openapi(request: web.Request) -> web.Response:
    """Answer with this document."""
    return reply(request.app[DOCUMENTS].openapi)


@ROUTES.get("/docs")
@describe({200: Answer(text("<!doctype html>"), media="text/html")})
async def get_page(request: web.Request) -> web.Response:
    """Answer with this document as a page to read."""
    return web.Response(
        text=request.app[DOCUMENTS].page,
        content_type="text/html",
        headers={"Content-Security-Policy": docs_page.SECURITY_POLICY},
    )
