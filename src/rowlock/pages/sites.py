"""A site: the pages of the console or of the shop, and who may see them."""

from collections.abc import Iterable, Sequence
from functools import partial, update_wrapper
from urllib.parse import quote

from aiohttp import web

from rowlock.errors import CrossSiteRequest, RowlockError, Unauthorized, ViewersMayNotAct
from rowlock.http.answers import head
from rowlock.http.exchange import EXCHANGE
from rowlock.http.negotiation import preferred
from rowlock.http.openapi.shapes import HTML, JSON
from rowlock.http.origins import ORIGINS, SITE
from rowlock.http.routes import Handler, Route
from rowlock.origin import FRESH
from rowlock.pages.declaring import ACCESS, Access, Pages
from rowlock.pages.frames import NOTICE, Frame
from rowlock.pages.sessions import SESSION, Sessions, local_path
from rowlock.pages.static import StaticPages

READS = frozenset({"GET", "HEAD"})


class Site:
    """The pages of one kind. Below `prefix`, all addresses are its own."""

    def __init__(
        self,
        frame: Frame,
        sessions: Sessions,
        groups: Iterable[Pages],
        *,
        sign_in: str,
        prefix: str = "",
        front: Handler | None = None,
    ) -> None:
        """`sign_in` is the path of the page that lets visitors in; `front` answers `/`."""
        self._frame = frame
        self._sessions = sessions
        self._sign_in = sign_in
        self._prefix = prefix
        self.front = None if front is None else self._guarded(front, Access.LOOK)
        self.routes: Sequence[Route] = [
            route._replace(handler=self._guarded(route.handler, _access_of(route.handler)))
            for group in (*groups, StaticPages())
            for route in group
        ]

    def covers(self, path: str) -> bool:
        """Tell whether errors at a path are shown as pages."""
        return path.startswith(self._prefix)

    def respond(self, error: RowlockError, request: web.Request) -> web.Response:
        """Return the answer for an error: a page for clients that prefer HTML, else JSON."""
        return self._frame.respond(error, request)

    def elsewhere(self, refuse: Handler) -> Handler:
        """Return what answers where there is no page: visitors learn it once they are signed in."""
        return self._guarded(refuse, Access.LOOK)

    def _guarded(self, handler: Handler, access: Access) -> Handler:
        return update_wrapper(partial(self._serve, handler, access), handler)

    async def _serve(
        self, handler: Handler, access: Access, request: web.Request
    ) -> web.StreamResponse:
        """Let a request in that may see the page. Raises what refuses it."""
        is_write = request.method not in READS
        if is_write and not request.app[ORIGINS].is_own(request):
            raise CrossSiteRequest("Pages are used from themselves: open the page and try again.")
        session = self._sessions.read(request)
        if session is not None:
            request[SESSION] = session
            request[EXCHANGE].actor = session.actor
        if NOTICE in request.cookies:
            FRESH.set(True)  # the page after an action shows what it did, whatever standbys know
        if access is Access.OPEN:
            return await handler(request)
        if session is None:
            return await self._let_sign_in(request)
        if access is Access.ACT and not session.may_act:
            raise ViewersMayNotAct
        return await handler(request)

    async def _let_sign_in(self, request: web.Request) -> web.StreamResponse:
        """Lead a visitor to the page that signs in. Raises Unauthorized for anything but a page."""
        if "HX-Request" in request.headers:  # a part of a page whose session has ended
            return web.Response(status=401, headers=head({"HX-Refresh": "true"}))
        if preferred(request, (JSON, HTML)) != HTML:
            raise Unauthorized("Sign in first: open this service in a browser.")
        if request.method not in READS:
            raise Unauthorized("Nothing was done: your session has ended.")
        here = local_path(str(request.rel_url)) or "/"
        if request.headers.get(SITE) == "cross-site" and not self._sessions.is_given(request):
            # The browser came by a link of another site, and such requests carry no strict cookie.
            # The next one, which this page makes, does.
            return await self._frame.show(request, "pages/onward.html", here=here)
        onward = "" if here == "/" else f"?next={quote(here, safe='/')}"
        return self._frame.redirect(self._sign_in + onward)


def _access_of(handler: Handler) -> Access:
    access = getattr(handler, ACCESS)
    assert isinstance(access, Access)
    return access
