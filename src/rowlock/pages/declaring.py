"""Declaring pages: methods of a class, as routes are."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TypeVar

import marshmallow
from aiohttp import web

from rowlock.http.routes import ENDPOINT, PAGES, Endpoint, Routes

ACCESS = "_access"  # the attribute of a method that holds who may see its page
Method = TypeVar("Method", bound=Callable[..., Awaitable[web.StreamResponse]])

# The boundary leaves queries to pages: they tell which parameter is wrong, where it was entered.
ANY_QUERY = marshmallow.Schema()


class Access(StrEnum):
    """Who may see a page."""

    OPEN = "open"  # all visitors
    LOOK = "look"  # those who are signed in
    ACT = "act"  # those of them who may change something


class Pages(Routes):
    """The pages of one place: its methods with `page`, in the order of the class."""

    tag = PAGES


def page(
    method: str, path: str, access: Access | None = None, *, is_private: bool = False
) -> Callable[[Method], Method]:
    """Return the decorator that makes a method a page.

    GET is for those who are signed in, and POST for those of them who may act, unless `access` says
    otherwise. Logs have the template of a path that `is_private`.
    """
    if access is None:
        access = Access.LOOK if method == "GET" else Access.ACT
    endpoint = Endpoint(
        method, path, answers={}, refusals=(), body=None, example=None, query=ANY_QUERY,
        parameters={}, headers={}, security={"session": {}}, allow_head=True, scope=None,
        takes_key=False, is_private=is_private,
    )  # fmt: skip

    def keep(handler: Method) -> Method:
        setattr(handler, ENDPOINT, endpoint)
        setattr(handler, ACCESS, access)
        return handler

    return keep
