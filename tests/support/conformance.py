"""Whether answers are what the service's OpenAPI document says: a client that checks each one."""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import jsonschema_rs
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient
from aiohttp.typedefs import StrOrURL

from rowlock.http.openapi.components import resolve
from rowlock.http.openapi.routes import DOCUMENTS
from rowlock.http.openapi.shapes import JSON, PROBLEM
from rowlock.http.service import SERVICE, SETTINGS

# What any address may answer, whether or not there is a route.
ANYWHERE = {400, 401, 403, 404, 405, 429}

_documents: dict[tuple[Any, ...], "Document"] = {}


class Document:
    """The OpenAPI document of a service, to hold answers against."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.openapi = document
        self._paths = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path)
            for path in sorted(document["paths"], key=lambda path: path.count("{"))
        ]
        self._schemas = cache(self._compile)

    @classmethod
    def of(cls, app: web.Application) -> "Document":
        settings = app[SETTINGS]
        is_open = settings.addresses.commerce_token is None
        is_limited = settings.http.client_rate > 0
        key = app[SERVICE].name, is_open, is_limited, settings.auth0.auth0_domain
        if key not in _documents:
            _documents[key] = cls(app[DOCUMENTS].openapi)
        return _documents[key]

    def resolve(self, node: dict[str, Any]) -> dict[str, Any]:
        return resolve(self.openapi, node)

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        for pattern, known in self._paths:
            if pattern.fullmatch(path):
                found: dict[str, Any] | None = self.openapi["paths"][known].get(method.lower())
                return found
        return None

    def validator(self, schema: dict[str, Any]) -> Callable[[Any], None]:
        return jsonschema_rs.Draft202012Validator(
            {**schema, "components": self.openapi["components"]}, validate_formats=True
        ).validate

    def _compile(self, operation_id: str, status: int, media: str) -> Callable[[Any], None]:
        [operation] = [
            operation
            for methods in self.openapi["paths"].values()
            for operation in methods.values()
            if operation["operationId"] == operation_id
        ]
        answer = self.resolve(operation["responses"][str(status)])
        return self.validator(answer["content"][media]["schema"])

    async def check(self, response: ClientResponse) -> None:
        """Hold an answer against the document."""
        method = "GET" if response.method == "HEAD" else response.method
        operation = self.operation(method, response.url.raw_path)
        if response.method == "OPTIONS" and response.status == 204:
            return  # to a preflight
        if operation is None and response.content_type == "text/html":
            return  # a page, which is in no document
        if operation is None or (response.method, response.status) == ("HEAD", 405):
            assert response.status in ANYWHERE, (response.method, response.url, response.status)
            return
        where = operation["operationId"], response.status
        assert str(response.status) in operation["responses"], where
        answer = self.resolve(operation["responses"][str(response.status)])
        for name, header in answer["headers"].items():
            text = response.headers.get(name)
            assert text is not None or not self.resolve(header).get("required"), (where, name)
        if response.method == "HEAD":
            return
        if "content" not in answer:
            assert not await response.read(), where
            return
        assert response.content_type in answer["content"], where
        if response.content_type in {JSON, PROBLEM}:
            body = await response.json(content_type=None)
            self._schemas(*where, response.content_type)(body)
            if "x-error-codes" in answer:
                assert body["error"] in answer["x-error-codes"], (where, body)


class CheckedClient(TestClient[web.Request, web.Application]):
    """A client that holds every answer against the service's OpenAPI document."""

    async def _request(self, method: str, path: StrOrURL, **kwargs: Any) -> ClientResponse:
        response = await super()._request(method, path, **kwargs)
        app = self.app
        assert app is not None
        if SERVICE in app:
            await Document.of(app).check(response)
        return response
