"""Routes: methods of a class, with a decorator that says how each is reached and documented."""

import inspect
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

import marshmallow
from aiohttp import web

from rowlock.errors import RowlockError
from rowlock.http.expectations import note_expectation
from rowlock.http.openapi.shapes import AnswerShape, JsonSchema

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Method = TypeVar("Method", bound=Callable[..., Awaitable[web.StreamResponse]])

PARAMETER = re.compile(r"{(\w+)}")  # of a path, without a pattern of its own
ANY_PARAMETER = re.compile(r"{(\w+)(?::[^{}]+)?}")
SYSTEM = "system"  # the tag of routes that are no feature's
PAGES = "pages"  # the tag of pages for people, which are in no document
ENDPOINT = "_endpoint"  # the attribute of a method that holds its Endpoint


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How a handler is reached, and what it takes and answers."""

    method: str
    path: str
    answers: Mapping[int, JsonSchema | AnswerShape]  # by status
    refusals: tuple[type[RowlockError], ...]  # its own, without those that every route has
    body: marshmallow.Schema | None
    example: Any  # of the body
    query: marshmallow.Schema | None
    parameters: Mapping[str, JsonSchema]  # of the path
    headers: Mapping[str, JsonSchema]  # of the request
    # Alternatives to the service's scheme, any of which will do: the handler checks access itself.
    security: Mapping[str, JsonSchema]
    allow_head: bool  # whether HEAD is answered like GET
    scope: str | None  # that an API key needs; None: that of its feature
    takes_key: bool  # a write's answer may be kept for an Idempotency-Key
    is_private: bool  # its path names a person: logs have the template instead

    @property
    def template(self) -> str:
        """The path as documents and metrics name it: with {name} for a parameter, no pattern."""
        return ANY_PARAMETER.sub(r"{\1}", self.path)


class Route(NamedTuple):
    """An endpoint with its handler."""

    name: str  # in the document; unique within a service
    tag: str
    about: str  # what its class has: one paragraph
    endpoint: Endpoint
    handler: Handler

    @property
    def scope(self) -> str | None:
        """What an API key needs; None: any, or its handler checks access itself."""
        return scope_of(self.tag, self.endpoint)


class Routes:
    """The routes of one feature: its methods with an endpoint, in the order of the class.

    The first paragraph of the class's docstring is shown below the heading.
    """

    tag: ClassVar[str]  # the document's heading for them

    def __iter__(self) -> Iterator[Route]:
        about = (inspect.getdoc(type(self)) or "").partition("\n\n")[0]
        for name, member in vars(type(self)).items():
            endpoint = endpoint_of(member)
            if endpoint is not None:
                title = f"{self.tag} {name}".replace(" ", "_")
                yield Route(title, self.tag, about, endpoint, getattr(self, name))

    @classmethod
    def scopes(cls) -> set[str]:
        """Return the scopes that API keys need for these routes."""
        endpoints = filter(None, map(endpoint_of, vars(cls).values()))
        return set(filter(None, (scope_of(cls.tag, endpoint) for endpoint in endpoints)))


def scope_of(tag: str, endpoint: Endpoint) -> str | None:
    """Return the scope that an API key needs for a route of the feature `tag`, if it needs one."""
    if tag == SYSTEM or endpoint.security:
        return None
    verb = "read" if endpoint.method == "GET" else "write"
    return endpoint.scope or f"{tag.replace(' ', '_')}:{verb}"


def endpoint_of(handler: object) -> Endpoint | None:
    """Return the endpoint of a handler; None if it has none."""
    return getattr(handler, ENDPOINT, None)


def add_to(app: web.Application, route: Route, handler: Handler) -> None:
    """Let `app` answer requests for `route` by `handler`.

    A parameter of the path takes any text, with braces, too.
    """
    endpoint = route.endpoint
    path = PARAMETER.sub(r"{\1:[^/]+}", endpoint.path)
    if endpoint.method == "GET":
        app.router.add_get(
            path, handler, allow_head=endpoint.allow_head, expect_handler=note_expectation
        )
    else:
        app.router.add_route(endpoint.method, path, handler, expect_handler=note_expectation)


class Elsewhere(web.PlainResource):
    """What no route of a service matches. aiohttp asks it last, as it is added last, below `/`."""

    def __init__(self, handler: Handler) -> None:
        super().__init__("/")
        # Not added to the resource: it is none of the routes that the service has.
        self._any = web.ResourceRoute("*", handler, self, expect_handler=note_expectation)

    async def resolve(self, _: web.Request) -> tuple[web.UrlMappingMatchInfo, set[str]]:
        """Match any request."""
        return web.UrlMappingMatchInfo({}, self._any), set()


def route(
    method: str,
    path: str,
    answers: Mapping[int, JsonSchema | AnswerShape],
    *refusals: type[RowlockError],
    body: marshmallow.Schema | None = None,
    example: Any = None,
    query: marshmallow.Schema | None = None,
    parameters: Mapping[str, JsonSchema] | None = None,
    headers: Mapping[str, JsonSchema] | None = None,
    security: Mapping[str, JsonSchema] | None = None,
    allow_head: bool = True,
    scope: str | None = None,
    takes_key: bool = True,
    is_private: bool = False,
) -> Callable[[Method], Method]:
    """Return the decorator that makes a method a route; the arguments are those of Endpoint."""
    endpoint = Endpoint(
        method, path, answers, refusals, body, example, query, parameters or {}, headers or {},
        security or {}, allow_head, scope, takes_key, is_private,
    )  # fmt: skip

    def keep(handler: Method) -> Method:
        setattr(handler, ENDPOINT, endpoint)
        return handler

    return keep
