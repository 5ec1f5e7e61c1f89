"""Routes: methods that a decorator makes one, and nothing else of a class."""

from collections.abc import Iterator

import pytest
from aiohttp import web

from rowlock.http.routes import Route, Routes, endpoint_of, route
from rowlock.http.service import Parts, Service
from rowlock.services import ROUTES, SERVICES
from rowlock.settings import Settings
from tests.support.contract import path_of
from tests.support.roles import create_app
from tests.support.services import spied_on

each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


class Shelves(Routes):
    """A route, and what is none."""

    tag = "old books"
    limit = 3

    def __init__(self) -> None:
        self.shelf = "own"

    @route("GET", "/shelves", {200: {"type": "object"}})
    async def list_shelves(self, _: web.Request) -> web.Response:
        return web.json_response({"shelf": self.shelf})

    async def undecorated(self, _: web.Request) -> web.Response:
        raise NotImplementedError

    @staticmethod
    def helper() -> None: ...

    @property
    def computed(self) -> int:
        raise NotImplementedError

    @route("POST", "/shelves", {201: {"type": "object"}})
    async def add_shelf(self, _: web.Request) -> web.Response:
        raise NotImplementedError


def routes_in(service: Service) -> Iterator[Route]:
    """The routes of a service's features."""
    seen: list[Parts] = []
    create_app(spied_on(service, seen), Settings(), "postgresql://")
    for group in seen[0].routes:
        yield from group


def test_routes__attributes_that_are_no_route__ignored_and_the_rest_in_order() -> None:
    shelves = Shelves()
    assert [(each.name, each.tag, each.endpoint.method) for each in shelves] == [
        ("old_books_list_shelves", "old books", "GET"),
        ("old_books_add_shelf", "old books", "POST"),
    ]
    assert [each.handler for each in shelves] == [shelves.list_shelves, shelves.add_shelf]


def test_endpoint_of__no_route__none() -> None:
    for handler in (Shelves().undecorated, Shelves.helper, Shelves.limit, None):
        assert endpoint_of(handler) is None


@each_service
def test_handlers__all_that_a_service_serves__have_the_endpoint_they_are_served_by(
    service: Service,
) -> None:
    app = create_app(service, Settings(), "postgresql://")
    for served in app.router.routes():
        endpoint = endpoint_of(served.handler)
        assert endpoint is not None, path_of(served)
        assert served.method in {endpoint.method, "HEAD"}
        assert endpoint.template == path_of(served)
        assert served.method != "HEAD" or (endpoint.method == "GET" and endpoint.allow_head)


@pytest.mark.parametrize("service", [SERVICES[name] for name in ROUTES], ids=ROUTES)
def test_routes__of_a_service__no_two_of_one_name_or_address(service: Service) -> None:
    routes = [*routes_in(service)]
    assert routes
    assert len({each.name for each in routes}) == len(routes)
    assert len({(each.endpoint.method, each.endpoint.path) for each in routes}) == len(routes)
