"""`/` says what is here, `/openapi.json` describes it, and `/docs` shows that in a browser."""

import asyncio
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import orjson
from aiohttp import web

from rowlock import __version__
from rowlock.http.addresses import absolute
from rowlock.http.answers import BY_ACCEPT, JSON_HEAD, reply
from rowlock.http.negotiation import preferred
from rowlock.http.openapi import html, index, page
from rowlock.http.openapi.document import build
from rowlock.http.openapi.shapes import HTML, JSON, AnswerShape, mapping, text
from rowlock.http.routes import SYSTEM, Handler, Route, Routes, route
from rowlock.http.service import Service
from rowlock.http.shared import SharedBody
from rowlock.settings import Settings

PAGE = text("<!doctype html>")


class DocumentRoutes(Routes):
    """A service's document, and its pages, made once."""

    tag = SYSTEM

    def __init__(
        self,
        service: Service,
        settings: Settings,
        routes: Iterable[Route],
        front: Handler | None = None,
    ) -> None:
        """Describe `routes`; `front` is what a service with pages shows browsers at `/`."""
        self._service = service
        self._settings = settings
        self._front = front
        self._is_made, self._making = False, asyncio.Lock()
        self.routes = [*routes, *self]

    async def _make(self) -> None:
        """Make them when the first client asks, beside the event loop: other clients go on."""
        async with self._making:
            if not self._is_made:
                await asyncio.to_thread(lambda: (self._json, self._page, self._index))
                self._is_made = True

    @cached_property
    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return build(self._service, self._settings, self.routes)

    @cached_property
    def _json(self) -> bytes:
        """The document but for its first member, the servers: the address is the client's word."""
        members = {name: part for name, part in self.openapi.items() if name != "servers"}
        return b"," + orjson.dumps(members).removeprefix(b"{")

    @cached_property
    def _page(self) -> html.Page:
        return html.cut(page.render(self.openapi))

    @property
    def _currency(self) -> str | None:
        return self._settings.money.currency if self._service.has_money else None

    @cached_property
    def _index(self) -> html.Page:
        is_open = self._service.token(self._settings) is None
        return html.cut(
            index.as_page(
                self._service.name,
                __version__,
                self._currency,
                self._service.examples[0],
                is_open=is_open,
            )
        )

    @route(
        "GET",
        "/",
        {200: AnswerShape(index.INDEX, others={HTML: PAGE})},
    )
    async def get_index(self, request: web.Request) -> web.StreamResponse:
        """Show what is here.

        As a page for clients that prefer `text/html` in `Accept`, as browsers do; else as JSON.
        """
        base = absolute(request, "")
        if preferred(request, (JSON, HTML)) == HTML:
            if self._front is not None:
                return await self._front(request)
            await self._make()
            response = html.answer(self._index, base)
            response.headers.update(BY_ACCEPT)
            return response
        service, example = self._service.name, self._service.examples[0]
        shown = index.as_json(service, __version__, self._currency, example, base)
        return reply(shown, headers=BY_ACCEPT)

    @route("GET", "/openapi.json", {200: mapping("OpenApi", {"openapi": "3.1.0"})})
    async def get_openapi(self, request: web.Request) -> web.Response:
        """Get the OpenAPI document, with the address of the service."""
        await self._make()
        servers = orjson.dumps({"servers": [{"url": absolute(request, "") or "/"}]})
        body = SharedBody([servers.removesuffix(b"}"), self._json])
        return web.Response(body=body, headers=JSON_HEAD)

    @route("GET", "/docs", {200: AnswerShape(PAGE, media=HTML)})
    async def get_page(self, request: web.Request) -> web.Response:
        """Show the OpenAPI document as a page."""
        await self._make()
        return html.answer(self._page, absolute(request, ""))


DOCUMENTS = web.AppKey("documents", DocumentRoutes)
