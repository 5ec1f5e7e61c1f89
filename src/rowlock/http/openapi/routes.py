"""`/openapi.json`, and `/docs` to read it in a browser."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import orjson
from aiohttp import web

from rowlock.http.addresses import absolute
from rowlock.http.answers import JSON_HEAD, head
from rowlock.http.openapi import page
from rowlock.http.openapi.document import build
from rowlock.http.openapi.shapes import AnswerShape, text
from rowlock.http.routes import Route, Routes, route
from rowlock.http.service import Service
from rowlock.settings import Settings


class DocumentRoutes(Routes):
    """A service's document, and its page, made once."""

    tag = "system"

    def __init__(self, service: Service, settings: Settings, routes: Iterable[Route]) -> None:
        self._service = service
        self._settings = settings
        self._routes = [*routes, *self]

    def make(self) -> None:
        """Make them now, and not when the first one asks and others wait."""
        _ = self._json, self._page

    @cached_property
    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return build(self._service, self._settings, self._routes)

    @cached_property
    def _json(self) -> bytes:
        return orjson.dumps(self.openapi)

    @cached_property
    def _page(self) -> bytes:
        return page.render(self.openapi).encode()

    @route("GET", "/openapi.json", {200: {"type": "object", "examples": [{"openapi": "3.1.0"}]}})
    async def get_openapi(self, request: web.Request) -> web.Response:
        """Answer with this document, and where the service is."""
        servers = orjson.dumps({"servers": [{"url": absolute(request, "") or "/"}]})
        body = servers.removesuffix(b"}") + b"," + self._json.removeprefix(b"{")
        return web.Response(body=body, headers=JSON_HEAD)

    @route("GET", "/docs", {200: AnswerShape(text("<!doctype html>"), media="text/html")})
    async def get_page(self, _: web.Request) -> web.Response:
        """Answer with this document as a page to read."""
        return web.Response(
            body=self._page,
            headers=head(
                {
                    "Content-Type": "text/html; charset=utf-8",
                    "Content-Security-Policy": page.SECURITY_POLICY,
                }
            ),
        )


DOCUMENTS = web.AppKey("documents", DocumentRoutes)
