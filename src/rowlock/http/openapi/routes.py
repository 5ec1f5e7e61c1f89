"""`/` says what is here, `/openapi.json` describes it, and `/docs` shows that in a browser."""

from collections.abc import Iterable
from functools import cached_property, lru_cache
from typing import Any

import orjson
from aiohttp import web

from rowlock import __version__
from rowlock.http.addresses import absolute
from rowlock.http.answers import JSON_HEAD, reply
from rowlock.http.negotiation import preferred
from rowlock.http.openapi import html, index, page
from rowlock.http.openapi.document import build
from rowlock.http.openapi.shapes import HTML, JSON, AnswerShape, text
from rowlock.http.routes import SYSTEM, Route, Routes, route
from rowlock.http.service import Service
from rowlock.settings import Settings

PAGE = text("<!doctype html>")
BY_ACCEPT = {"Vary": "Accept"}
KEPT = 16  # documents, one for each address that clients know the service by


class DocumentRoutes(Routes):
    """A service's document, and its pages, made once."""

    tag = SYSTEM

    def __init__(self, service: Service, settings: Settings, routes: Iterable[Route]) -> None:
        self._service = service
        self._settings = settings
        self.routes = [*routes, *self]
        # Clients that don't read their answers hold the same bytes, not each some of their own.
        self._document = lru_cache(maxsize=KEPT)(self._document_at)

    def make(self) -> None:
        """Make them now, and not when the first client asks and others wait."""
        _ = self._json, self._page, self._index

    @cached_property
    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return build(self._service, self._settings, self.routes)

    @cached_property
    def _json(self) -> bytes:
        return orjson.dumps(self.openapi)

    def _document_at(self, address: str) -> bytes:
        servers = orjson.dumps({"servers": [{"url": address}]})
        return servers.removesuffix(b"}") + b"," + self._json.removeprefix(b"{")

    @cached_property
    def _page(self) -> str:
        return page.render(self.openapi)

    @cached_property
    def _index(self) -> str:
        is_open = self._service.token(self._settings) is None
        return index.as_page(
            self._service.name, __version__, self._service.examples[0], is_open=is_open
        )

    @route(
        "GET",
        "/",
        {200: AnswerShape(index.INDEX, others={HTML: PAGE})},
    )
    async def get_index(self, request: web.Request) -> web.Response:
        """Show what is here.

        As a page for clients that prefer `text/html` in `Accept`, as browsers do; else as JSON.
        """
        base = absolute(request, "")
        if preferred(request, (JSON, HTML)) == HTML:
            response = html.answer(self._index, base)
            response.headers.update(BY_ACCEPT)
            return response
        service, example = self._service.name, self._service.examples[0]
        return reply(index.as_json(service, __version__, example, base), headers=BY_ACCEPT)

    @route("GET", "/openapi.json", {200: {"type": "object", "examples": [{"openapi": "3.1.0"}]}})
    async def get_openapi(self, request: web.Request) -> web.Response:
        """Get the OpenAPI document, with the address of the service."""
        return web.Response(body=self._document(absolute(request, "") or "/"), headers=JSON_HEAD)

    @route("GET", "/docs", {200: AnswerShape(PAGE, media=HTML)})
    async def get_page(self, request: web.Request) -> web.Response:
        """Show the OpenAPI document as a page."""
        return html.answer(self._page, absolute(request, ""))


DOCUMENTS = web.AppKey("documents", DocumentRoutes)
