"""The OpenAPI document of a service.

Each route says what it takes and answers. What many routes have in common is added here:
parameters, headers, errors, security.
"""

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import groupby
from typing import Any

from apispec import APISpec

from rowlock import __version__
from rowlock.errors import RowlockError
from rowlock.http.access import METRICS_PATH, PUBLIC_PATHS
from rowlock.http.bodies import ChangeBody
from rowlock.http.errors import status_of
from rowlock.http.openapi import refusals
from rowlock.http.openapi.components import Bodies, refer
from rowlock.http.openapi.introduction import introduce
from rowlock.http.openapi.shapes import (
    EXAMPLE_URL,
    JSON,
    REQUEST,
    AnswerShape,
    JsonSchema,
    choice,
    example_of,
    integer,
    text,
)
from rowlock.http.request_ids import REQUEST_ID
from rowlock.http.routes import PARAMETER, Endpoint, Route
from rowlock.http.service import Service
from rowlock.http.submit import IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, KEY_LENGTH
from rowlock.settings import Settings

FOLLOWING = {"limit": "limit=20&cursor=MTAw", "page": "page=2"}  # how lists go on, by parameter
LICENSE = "Apache-2.0"
# A key, bare or quoted: `commit` takes no other.
KEY_PATTERN = (
    rf'^([!#-~]([ -~]{{0,{KEY_LENGTH - 2}}}[!-~])?|"([ !#-\[\]-~]|\\["\\]){{1,{KEY_LENGTH}}}")$'
)


def build(service: Service, settings: Settings, routes: Iterable[Route]) -> dict[str, Any]:
    """Return the OpenAPI document of `service`, which has these routes."""
    operations = [
        _Operation(
            route,
            takes_key=route.endpoint.method in refusals.WRITES and route.endpoint.takes_key,
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
    plugin: Bodies = field(default_factory=Bodies)
    spec: APISpec = field(init=False)

    def document(self) -> dict[str, Any]:
        operations = self.operations
        schemes = self._schemes()
        self.spec = APISpec(
            title=f"Rowlock {self.service.name}",
            version=__version__,
            openapi_version="3.1.0",
            info={
                "description": introduce(self.service, self.settings),
                "license": {"name": LICENSE, "identifier": LICENSE},
            },
            plugins=[self.plugin],
            tags=[*_tags(operation.route for operation in operations)],
        )
        for name, scheme in schemes.items():
            self.spec.components.security_scheme(name, scheme)
        self._add_shared()
        for operation in operations:
            described = self._describe(operation)
            self.spec.path(operation.path, operations={operation.about.method.lower(): described})
        port = self.service.port(self.settings)
        url = self.service.public_url(self.settings) or f"http://localhost:{port}"
        # First, as `rowlock.http.openapi.routes` replaces them.
        return {"servers": [{"url": url}], **self.spec.to_dict()}

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
                "schema": text(REQUEST),
            },
        )
        components.header(
            "RequestId",
            {"description": "The client's, or a new one.", "schema": text(REQUEST)}
            | {"required": True},
        )
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
                "required": isinstance(about.body, ChangeBody)
                or any(one.required for one in about.body.fields.values()),
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
                yield {**parameter, "schema": self._refer(parameter["schema"])}
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

        def status_here(kind: type[RowlockError]) -> int:
            return status_of(kind(), operation.path)

        found = refusals.of(
            operation.route,
            self.service,
            self.settings,
            takes_key=operation.takes_key,
            takes_jwts=self._takes_jwts(),
        )
        for status, kinds in groupby(sorted(dict.fromkeys(found), key=status_here), status_here):
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
                    "description": "Links to other pages, by `rel` (RFC 8288): follow them as they "
                    "are. Without `next`, this is the last page.",
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
        if "Location" in answer.headers:
            response["links"] = {"created": self._link(answer)}
        return response

    def _link(self, answer: AnswerShape) -> dict[str, Any]:
        """Return how to get what was created: by an id of the answer, below the path asked for."""
        assert answer.shape is not None
        [address] = answer.headers["Location"]["examples"]
        path = address.removeprefix(EXAMPLE_URL)
        [found] = [
            one
            for one in self.operations
            if one.about.method == "GET" and re.fullmatch(PARAMETER.sub(r"[^/]+", one.path), path)
        ]
        *above, name = PARAMETER.findall(found.path)
        last = path.rpartition("/")[2]
        properties = answer.shape["properties"].items()
        own = next(key for key, part in properties if str(example_of(part)) == last)
        return {
            "operationId": found.route.name,
            "parameters": {
                **{each: f"$request.path.{each}" for each in above},
                name: f"$response.body#/{own}",
            },
        }

    def _shared_headers(self, *, replayable: bool) -> dict[str, Any]:
        replayed = {IDEMPOTENCY_REPLAYED: "IdempotencyReplayed"} if replayable else {}
        return {REQUEST_ID: "RequestId", **replayed}

    def _refer(self, shape: JsonSchema) -> JsonSchema:
        return refer(shape, self.spec.components.schemas)

    def _refusal(self, operation: _Operation, kinds: Sequence[type[RowlockError]]) -> str:
        """Return the name of the response that is one of `kinds`, all of one status."""
        is_kept = operation.takes_key and refusals.are_kept(kinds)
        name = refusals.name_of(kinds, operation.path, is_kept=is_kept)
        responses = self.spec.components.responses
        if name not in responses:
            response = refusals.describe(kinds, operation.path, self.spec.components.schemas)
            response["headers"] |= self._shared_headers(replayable=is_kept)
            self.spec.components.response(name, response)
        return name


def _tags(routes: Iterable[Route]) -> Iterator[dict[str, str]]:
    """Yield each tag once, with what all classes of its routes have."""
    about: dict[str, dict[str, None]] = {}
    for route in routes:
        about.setdefault(route.tag, {})[route.about] = None
    for tag, sentences in about.items():
        yield {"name": tag, "description": " ".join(sentences)}


def _tidy(schema: JsonSchema) -> None:
    """Remove from a parameter's schema what stands for its absence, and add an example."""
    if isinstance(schema["type"], list):
        schema["type"], _null = schema["type"]
    if "enum" in schema:
        schema["enum"] = [value for value in schema["enum"] if value is not None]
    # Other defaults are how a feature says that there was no such parameter.
    kind = {"integer": int, "string": str, "boolean": bool}[schema["type"]]
    if not isinstance(schema.get("default"), kind):
        schema.pop("default", None)
    if "examples" not in schema:
        [example, *_] = [schema[key] for key in ("default", "minimum") if key in schema] or schema[
            "enum"
        ]
        schema["examples"] = [example]
