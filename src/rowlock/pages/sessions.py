"""Who is signed in to pages: a session is an encrypted cookie, and nothing on the server.

It ends after ROWLOCK_SESSION_S, by signing out, or when the token that it was opened with changes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from yarl import URL

from rowlock.http.addresses import absolute
from rowlock.pages.cookies import Cookies
from rowlock.settings.names import is_loopback


@dataclass(frozen=True, slots=True)
class Session:
    """A visitor who is signed in."""

    name: str
    actor: str  # as events name them
    may_act: bool = True
    proof: str = ""  # of the token that it was opened with


SESSION = web.RequestKey("session", Session)


class Sessions:
    """The sessions of the console, or those of the shop."""

    def __init__(
        self,
        cookies: Cookies,
        name: str,
        lifetime_s: float,
        is_valid: Callable[[Session], bool] = lambda _: True,
    ) -> None:
        """`name` is the cookie's; a session that is not valid any more has ended."""
        self._cookies = cookies
        self._name = name
        self._is_valid = is_valid
        self._lifetime_s = lifetime_s

    def read(self, request: web.Request) -> Session | None:
        """Return the session that the request belongs to, if there is one."""
        data: Any = self._cookies.read(request, self._name, self._lifetime_s)
        try:
            session = None if data is None else Session(**data)
        except TypeError:  # of another release
            return None
        return session if session is not None and self._is_valid(session) else None

    def is_given(self, request: web.Request) -> bool:
        """Tell whether the request carries the cookie of a session, even if that has ended."""
        return self._name in request.cookies

    def open(self, response: web.StreamResponse, session: Session) -> None:
        """Sign a visitor in."""
        data = {name: getattr(session, name) for name in Session.__slots__}
        self._cookies.write(response, self._name, data, self._lifetime_s)

    def close(self, response: web.StreamResponse) -> None:
        """Sign a visitor out."""
        self._cookies.remove(response, self._name)


def session_of(request: web.Request) -> Session:
    """Return the session of a request for a page that needs one."""
    return request[SESSION]


def keeps_cookies(request: web.Request) -> bool:
    """Tell whether browsers keep our cookies: only over https, or on this very machine."""
    url = URL(absolute(request, "") or "/")
    return url.scheme == "https" or is_loopback(url.host or "")


def local_path(given: str) -> str | None:
    """Return `given` if it is a path of this service to go on to, else None."""
    is_path = given.startswith("/") and given.isprintable() and given.isascii()
    # Browsers take // and /\ for the beginning of another server's address.
    return given if is_path and "\\" not in given and not given.startswith("//") else None
