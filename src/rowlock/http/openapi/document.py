"""The OpenAPI document of a service.

Each route says what it takes and answers. What many routes have in common is added here:
parameters, headers, errors, security.
"""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import groupby
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from rowlock import __version__, errors
from rowlock.errors import Rejection, RowlockError
from rowlock.http.access import METRICS_PATH, OPERATOR_PATHS, PUBLIC_PATHS
from rowlock.http.errors import BENEFITS_PREFIX, envelope, headers_of, status_of
from rowlock.http.openapi.shapes import (
    EXAMPLE_URL,
    JSON,
    AnswerShape,
    JsonSchema,
    choice,
    example_of,
    integer,
    text,
)
from rowlock.http.rates import NEVER_LIMITED
from rowlock.http.request_ids import REQUEST_ID
from rowlock.http.routes import Endpoint, Route
from rowlock.http.service import Service
from rowlock.http.submit import IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, KEY_LENGTH
from rowlock.settings import Settings

DESCRIPTION = """
Bodies are JSON. Unknown fields and parameters, wrong types and numbers out of range are refused.
GET routes answer HEAD, too, except for streams. A method that a path does not take is a 405 with
`Allow`; a malformed method is a 400.

Lists are arrays. The next page is in the `Link` header. URLs in headers are absolute.
"""
KEYS_DESCRIPTION = """
If the connection breaks or a 503 comes, send the POST, PUT or DELETE again with the same
`Idempotency-Key`: it takes effect once. How its JSON is written, such as the order of names, does
not matter.
"""

FOLLOWING = {"limit": "limit=20&cursor=MTAw", "page": "page=2"}  # how lists go on, by parameter
WRITES = frozenset({"POST", "PUT", "DELETE"})
# A key, bare or quoted: `commit` takes no other.
KEY_PATTERN = (
    rf'^([!#-~]([ -~]{{0,{KEY_LENGTH - 2}}}[!-~])?|"([ !#-\[\]-~]|\\["\\]){{1,{KEY_LENGTH}}}")$'
)


def build(service: Service, settings: Settings, routes: Iterable[Route]) -> dict[str, Any]:
    """Return the OpenAPI document of `service`, which has these routes."""
    operations = [
        _Operation(
            route,
            takes_key=route.endpoint.method in WRITES
            and service.takes_keys
            and route.endpoint.takes_key,
        )
        for route in routes
    ]
    return _Builder(service, settings, operations).document()


@dataclass(slots=True)
class _Operation:
    """A route, as the document needs to know it."""

    route: Route
    takes_key: bool

    @property
    def about(self) -> Endpoint:
        return self.route.endpoint

    @property
    def path(self) -> str:
        return self.about.template


@dataclass(slots=True)
class _Builder:
    service: Service
    settings: Settings
    operations: Sequence[_Operation]
    plugin: MarshmallowPlugin = field(
        # Bodies stand where they are used: their names are of their features' own.
        default_factory=lambda: MarshmallowPlugin(schema_name_resolver=lambda _: "")
    )
    spec: APISpec = field(init=False)

    def document(self) -> dict[str, Any]:
        operations = self.operations
        schemes = self._schemes()
        keys = KEYS_DESCRIPTION if self.service.takes_keys else ""
        self.spec = APISpec(
            title=f"Rowlock {self.service.name}",
            version=__version__,
            openapi_version="3.1.0",
            info={"description": (DESCRIPTION + keys).strip()},
            plugins=[self.plugin],
            tags=[{"name": name} for name in dict.fromkeys(one.route.tag for one in operations)],
        )
        for name, scheme in schemes.items():
            self.spec.components.security_scheme(name, scheme)
        self._add_shared()
        for operation in operations:
            described = self._describe(operation)
            self.spec.path(operation.path, operations={operation.about.method.lower(): described})
        return self.spec.to_dict()

    def _schemes(self) -> dict[str, JsonSchema]:
        """Return the schemes of most routes; `/metrics` and webhooks have their own."""
        key: JsonSchema = {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "rk_…",
            "description": "An API key of this service, with the scope that is named.",
        }
        if self.service.token(self.settings) is None:
            return {"key": key}
        schemes = {"token": {"type": "http", "scheme": "bearer"}, "key": key}
        if self._takes_jwts():
            schemes["auth0"] = {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": f"An access token of {self.settings.auth0.auth0_domain}, "
                f"for the audience {self.settings.auth0.auth0_audience}.",
            }
        return schemes

    def _security(self, scope: str) -> list[dict[str, list[str]]]:
        """Return what a route takes that API keys need `scope` for."""
        is_open = self.service.token(self.settings) is None
        needs = [{name: [scope] if name == "key" else []} for name in self._schemes()]
        return [{}, *needs] if is_open else needs

    def _scraper_security(self) -> list[dict[str, list[str]]]:
        """Return what `access.check_scraper` wants."""
        if self.settings.addresses.metrics_token is not None:
            scheme = {"type": "http", "scheme": "bearer", "description": "For /metrics alone."}
            self.spec.components.security_scheme("metricsToken", scheme)
            return [{"metricsToken": []}]
        return [{"token": []}] if self.service.token(self.settings) is not None else []

    def _takes_jwts(self) -> bool:
        return self.service.takes_jwts and self.settings.auth0.auth0_domain is not None

    def _add_shared(self) -> None:
        components = self.spec.components
        components.parameter(
            "RequestId",
            "header",
            {
                "name": REQUEST_ID,
                "description": "The answer repeats it, and the logs have it: 1 to 128 characters "
                "of A-Z a-z 0-9 . _ : / + = - (another one is replaced).",
                "schema": text("01JDB2M4X8"),
            },
        )
        components.header(
            "RequestId",
            {"description": "The client's, or a new one.", "schema": text("01JDB2M4X8")}
            | {"required": True},
        )
        if self.service.takes_keys:
            components.parameter(
                "IdempotencyKey",
                "header",
                {
                    "name": IDEMPOTENCY_KEY,
                    "description": f"1 to {KEY_LENGTH} printable ASCII characters, bare or quoted. "
                    "A request that is sent again with the same key takes effect once.",
                    "schema": text("order-2026-11-21-0001", pattern=KEY_PATTERN),
                },
            )
            components.header(
                "IdempotencyReplayed",
                {
                    "description": "Set if this is the kept answer to an earlier request with this "
                    f"{IDEMPOTENCY_KEY}.",
                    "schema": choice("true"),
                },
            )

    def _describe(self, operation: _Operation) -> dict[str, Any]:
        about = operation.about
        summary, _, description = (inspect.getdoc(operation.route.handler) or "").partition("\n\n")
        described: dict[str, Any] = {
            "operationId": operation.route.name,
            "summary": summary.removesuffix("."),
            "tags": [operation.route.tag],
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
        if operation.route.scope is not None:
            described["security"] = self._security(operation.route.scope)
        elif operation.path in PUBLIC_PATHS:
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
                shape = about.parameters.get(name) or integer(1)
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
            dict.fromkeys(self._refusals(operation)), key=lambda kind: status_of(kind())
        )
        for status, kinds in groupby(refusals, key=lambda kind: status_of(kind())):
            responses[str(status)] = self._refusal(operation, [*kinds])
        return responses

    def _answer(
        self, operation: _Operation, status: int, answer: JsonSchema | AnswerShape
    ) -> dict[str, Any]:
        if not isinstance(answer, AnswerShape):
            answer = AnswerShape(answer)
        headers: dict[str, Any] = {
            name: {"schema": shape, "required": True} for name, shape in answer.headers.items()
        }
        query = operation.about.query.fields if operation.about.query else {}
        for name, following in FOLLOWING.items():
            if name in query:
                address = re.sub("{.*}", "1", operation.path)
                headers["Link"] = {
                    "description": "Links to other pages (RFC 8288), where there are any.",
                    "schema": text(f'<{EXAMPLE_URL}{address}?{following}>; rel="next"'),
                }
        response = {
            "description": HTTPStatus(status).phrase,
            "headers": headers | self._shared_headers(replayable=operation.takes_key),
        }
        if answer.shape is not None:
            response["content"] = {
                media: {"schema": self._refer(shape), "example": example_of(shape)}
                for media, shape in {answer.media: answer.shape, **answer.others}.items()
            }
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
        yield errors.InternalError
        if self.service.client_rate(self.settings) and operation.path not in NEVER_LIMITED:
            yield errors.TooManyRequests
        if operation.path in OPERATOR_PATHS:
            return
        if operation.route.scope is not None:
            yield from (errors.Unauthorized, errors.ScopeMissing, errors.TooManyRequests)
            if self._takes_jwts():
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
        if operation.takes_key:
            yield from (errors.IdempotencyKeyReused, errors.BodyTooLarge)
        yield from (errors.Overloaded, errors.Draining)
        yield from (errors.DatabaseUnavailable, errors.DatabaseBusy)
        if operation.about.method in WRITES:
            yield errors.OutcomeUnknown

    def _refusal(self, operation: _Operation, kinds: Sequence[type[RowlockError]]) -> str:
        """Return the name of the response that is one of `kinds`, all of one status."""
        replayable = operation.takes_key and any(
            issubclass(kind, Rejection) and kind is not errors.IdempotencyKeyReused
            for kind in kinds
        )
        names = [kind.__name__ for kind in kinds]
        if operation.path.startswith(BENEFITS_PREFIX):
            names.insert(0, "Benefits")
        if replayable:
            names.append("Replayable")
        name = ".".join(names)
        if name not in self.spec.components.responses:
            samples = [kind(**kind.example) for kind in kinds]
            envelopes = [envelope(sample, operation.path) for sample in samples]
            wanted = {
                header: {"schema": text(value), "required": True}
                for header, value in headers_of(samples[0], self.settings.http).items()
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
                    "headers": wanted | self._shared_headers(replayable=replayable),
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
    """Remove from a parameter's schema what stands for its absence, and add an example."""
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
