"""Methods that are declared by their signatures: `@call` and `@pages` send what these say.

    @call("POST /invoices/{invoice_id}/pay")
    async def pay_invoice(self, invoice_id: int, **options: Unpack[Options]) -> Invoice:
        "Pay an invoice into its user's balance."

Parameters that the path names are in it. The others are the body of a write, or the query of a
read. What is None is left out; so is KEEP, where None is sent as null. The answer becomes what the
method returns. A method without `**options` is not declared so, but written out.
"""

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from types import GenericAlias
from typing import Any, Generic, TypeVar, cast, get_args, get_origin, get_type_hints
from urllib.parse import quote

from yarl import URL

from rowlock.client.calls import Caller, Repeat, Request
from rowlock.client.failures import Answer, OutcomeUnknown, Unavailable
from rowlock.client.shapes import (
    KEEP,
    Header,
    Read,
    Record,
    fields_of,
    name_in,
    reader_of,
    write,
    write_query,
)

Function = TypeVar("Function", bound=Callable[..., Any])
Item = TypeVar("Item")

NO_BODY = frozenset({"GET", "DELETE"})


class Group:
    """Calls of one kind, such as those about invoices."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller


class Pages(Generic[Item]):
    """A list, read page by page: `async for item in …`, or `async for page in ….pages()`."""

    def __init__(self, first: "Declared", caller: Caller, request: Request, given: Any) -> None:
        self._declared = first
        self._caller = caller
        self._request = request
        self._policy = given or caller.policy

    async def pages(self) -> AsyncIterator[tuple[Item, ...]]:
        """Yield each page. Raises CallFailed."""
        request: Request | None = self._request
        while request is not None:
            answer = await self._caller.perform(request, self._policy)
            yield self._declared.read(request, answer)
            request = _next(request, answer)

    async def __aiter__(self) -> AsyncIterator[Item]:
        async for page in self.pages():
            for item in page:
                yield item

    async def first_page(self) -> tuple[Item, ...]:
        """Return the first page. Raises CallFailed."""
        answer = await self._caller.perform(self._request, self._policy)
        page: tuple[Item, ...] = self._declared.read(self._request, answer)
        return page


def _next(request: Request, answer: Answer) -> Request | None:
    """Return the request for the next page; None after the last one."""
    link = find_next(answer.headers)
    # Only the query: a page of this list is where the list is, and the token is for no other host.
    if link is None:
        return None
    query = URL(link, encoded=True).raw_query_string
    url = URL(f"{request.url.with_query(None)}?{query}", encoded=True)
    return Request(request.sent, url, request.headers, request.body, request.repeat)


def find_next(headers: Mapping[str, str]) -> str | None:
    """Return the address of the next page in a Link header (RFC 8288)."""
    for link in headers.get("Link", "").split(", <"):
        address, _, rest = link.lstrip("<").partition(">")
        if 'rel="next"' in rest:
            return address
    return None


class Declared:
    """A route as a method declares it."""

    def __init__(
        self,
        function: Callable[..., Any],
        route: str,
        *,
        wraps: str | None = None,
        within: str | None = None,
        repeat: Repeat | None = None,
        of_one: bool = False,
    ) -> None:
        self.method, self.path = route.split(" ")
        self.of_one = of_one
        self.wraps = wraps
        self.within = within
        self.repeat = repeat
        self._function = function
        self._signature = inspect.signature(function)

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """The types of the parameters, and that of the answer, with their annotations."""
        return get_type_hints(self._function, include_extras=True)

    @functools.cached_property
    def answer(self) -> Any:
        """The type of the answer; of a list, that of a page."""
        kind = self.hints["return"]
        if get_origin(kind) is not Pages:
            return kind
        [item] = get_args(kind)
        return item if self.of_one else GenericAlias(tuple, (item, ...))

    @functools.cached_property
    def places(self) -> dict[str, tuple[str, str]]:
        """Where each parameter goes (path, header, query or body), and how it is called there."""
        found = {}
        for name, parameter in self._signature.parameters.items():
            if name == "self" or parameter.kind is inspect.Parameter.VAR_KEYWORD:
                continue
            notes = getattr(self.hints[name], "__metadata__", ())
            header = next((note.name for note in notes if isinstance(note, Header)), None)
            if f"{{{name}}}" in self.path:
                found[name] = ("path", name)
            elif header is not None:
                found[name] = ("header", header)
            else:
                found[name] = (
                    "query" if self.method in NO_BODY else "body",
                    name_in(self.hints[name], name),
                )
        return found

    def prepare(self, caller: Caller, group: Group, args: Any, kwargs: Any) -> tuple[Request, Any]:
        """Return the request for these arguments, and the policy among them."""
        bound = self._signature.bind(group, *args, **kwargs)
        bound.apply_defaults()
        options = bound.arguments.get("options", {})
        parts: dict[str, dict[str, Any]] = {"path": {}, "header": {}, "query": {}, "body": {}}
        for name, (place, wire) in self.places.items():
            value = bound.arguments[name]
            may_be_null = self._signature.parameters[name].default is KEEP
            if value is KEEP or (value is None and not may_be_null):
                continue
            parts[place][wire] = write(value) if place == "body" else write_query(value)
        path = self.path.format_map({k: quote(v, safe="") for k, v in parts["path"].items()})
        body = parts["body"] if self.method not in NO_BODY else None
        request = caller.prepare(
            self.method,
            path,
            options,
            json={self.wraps: body} if self.wraps else body,
            query=parts["query"],
            headers=parts["header"],
            repeat=self.repeat,
        )
        return request, options.get("policy")

    @functools.cached_property
    def _reader(self) -> Read:
        return reader_of(self.answer)

    @functools.cached_property
    def _has_tag(self) -> bool:
        is_record = isinstance(self.answer, type) and issubclass(self.answer, Record)
        return is_record and any(field.name == "etag" for field in fields_of(self.answer))

    def read(self, request: Request, answer: Answer) -> Any:
        """Return what the answer tells. Raises CallFailed if it is not one of Rowlock's."""
        if self.answer is type(None):
            return None
        try:
            body = answer.body[self.within] if self.within else answer.body
            if self._has_tag and "ETag" in answer.headers:
                body = {**body, "etag": answer.headers["ETag"]}
            read = self._reader(body)
            return (read,) if self.of_one else read
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            kind = Unavailable if request.repeat is Repeat.READ else OutcomeUnknown
            problem = f"the answer is not one of Rowlock's: {error!r}"
            raise kind(request.sent, problem=problem) from error


def call(
    route: str,
    *,
    wraps: str | None = None,
    within: str | None = None,
    repeat: Repeat | None = None,
) -> Callable[[Function], Function]:
    """Declare the method that calls a route.

    `wraps` names the field that the body is in, `within` that which the answer is in. `repeat` says
    why a write may be sent again, if not by its key.
    """

    def declare(function: Function) -> Function:
        declared = Declared(function, route, wraps=wraps, within=within, repeat=repeat)

        @functools.wraps(function)
        async def made(self: Group, *args: Any, **kwargs: Any) -> Any:
            caller = self._caller
            request, policy = declared.prepare(caller, self, args, kwargs)
            answer = await caller.perform(request, policy or caller.policy)
            return declared.read(request, answer)

        made.declared = declared  # type: ignore[attr-defined]
        return cast("Function", made)

    return declare


def pages(route: str, *, of_one: bool = False) -> Callable[[Function], Function]:
    """Declare the method, no coroutine, that lists a route. It returns Pages.

    With `of_one`, a page is one item, and no list.
    """

    def declare(function: Function) -> Function:
        declared = Declared(function, route, of_one=of_one)

        @functools.wraps(function)
        def made(self: Group, *args: Any, **kwargs: Any) -> Pages[Any]:
            request, policy = declared.prepare(self._caller, self, args, kwargs)
            return Pages(declared, self._caller, request, policy)

        made.declared = declared  # type: ignore[attr-defined]
        return cast("Function", made)

    return declare
