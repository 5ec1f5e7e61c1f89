"""`/docs/try` of every service: Swagger UI on its OpenAPI document."""

from aiohttp import web

from rowlock.pages.cookies import Cookies
from rowlock.pages.declaring import Access, Pages, page
from rowlock.pages.frames import POLICY, Frame
from rowlock.pages.sessions import Sessions
from rowlock.pages.sites import Site
from rowlock.settings import Settings

PATH = "/docs/try"
# Its style sheet has pictures within it.
TRY_POLICY = POLICY.replace("img-src 'self'", "img-src 'self' data:")


class TryPages(Pages):
    """The page on which a developer tries the API."""

    def __init__(self, settings: Settings) -> None:
        self._frame = Frame(settings, Cookies(settings.pages, "pages"), "pages", None)

    @page("GET", PATH, Access.OPEN)
    async def show_try(self, request: web.Request) -> web.StreamResponse:
        """Show Swagger UI."""
        response = await self._frame.show(request, "pages/try.html")
        response.headers["Content-Security-Policy"] = TRY_POLICY
        return response


def open_plain(settings: Settings) -> Site:
    """Return the pages of a service that has none of its own."""
    cookies = Cookies(settings.pages, "pages")
    frame = Frame(settings, cookies, "pages", None)
    sessions = Sessions(cookies, "__Host-rowlock-none", settings.pages.session_s)
    return Site(frame, sessions, [TryPages(settings)], sign_in=PATH, prefix=PATH)
