"""Signing in to the console, by its token, and out."""

import hashlib
from time import monotonic_ns

import marshmallow
from aiohttp import web
from marshmallow import fields

from rowlock.accounts.names import person_problem
from rowlock.http.access import is_secret
from rowlock.http.addresses import ADDRESSES, absolute
from rowlock.http.buckets import Buckets
from rowlock.http.fields import CheckedText
from rowlock.pages.declaring import Access, Pages, page
from rowlock.pages.forms import Form, Outcome, read_form
from rowlock.pages.frames import Frame
from rowlock.pages.sessions import Session, Sessions, keeps_cookies, local_path
from rowlock.settings import Settings

COOKIE = "__Host-rowlock-console"
PATH = "/sign-in"
NAME_LENGTH = 60
SECONDS = 60  # in a minute


class SignInForm(marshmallow.Schema):
    """Who signs in, by what, and where to go on to."""

    # Events carry it: it must not look like another one.
    name = CheckedText(
        person_problem,
        longest=NAME_LENGTH,
        required=True,
        error_messages={"required": "Enter a name."},
    )
    token = fields.String(required=True, error_messages={"required": "Enter the console's token."})
    next = fields.String(load_default="/")


SIGN_IN_FORM = SignInForm()


class Tokens:
    """The tokens that open the console: one to act, and perhaps one to look."""

    def __init__(self, settings: Settings) -> None:
        self._acts = settings.addresses.console_token
        self._looks = settings.addresses.console_viewer_token

    def session(self, name: str, given: str) -> Session | None:
        """Return the session that a token opens for a name; None if it is neither of them."""
        may_act = is_secret(given, self._acts)
        may_look = self._looks is not None and is_secret(given, self._looks)
        if not (may_act or may_look):
            return None
        return Session(name, f"console:{name}", may_act, _proof(given))

    def is_valid(self, session: Session) -> bool:
        """Tell whether the token of a session still opens the console."""
        token = self._acts if session.may_act else self._looks
        return token is not None and session.proof == _proof(token)


def _proof(token: str) -> str:
    """Return what tells a token from another. It is in cookies, which are encrypted."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


class SignInPages(Pages):
    """Signing in and out."""

    def __init__(self, frame: Frame, sessions: Sessions, tokens: Tokens) -> None:
        self._frame = frame
        self._sessions = sessions
        self._tokens = tokens
        self._tries = Buckets()

    @page("GET", PATH, Access.OPEN)
    async def show_sign_in(self, request: web.Request) -> web.StreamResponse:
        """Show the form to sign in."""
        onward = request.rel_url.query.get("next", "/")
        return await self._show(request, Form({"next": onward}, {}))

    @page("POST", PATH, Access.OPEN)
    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        """Sign in."""
        form = await read_form(request, SIGN_IN_FORM)
        if form.errors:
            return await self._show(request, form, status=400)
        client = request.app[ADDRESSES].network(request)
        # The clock is slowed down, as buckets count what is sent in a second.
        rate = self._frame.settings.pages.sign_ins_per_minute
        if not self._tries.take(client, rate, monotonic_ns() // SECONDS):
            problem = "There were too many tries. Wait a minute."
            return await self._show(request, form, status=429, problem=problem)
        session = self._tokens.session(form.values["name"].strip(), form.values["token"])
        if session is None:
            problem = "This is not a token of the console: ROWLOCK_CONSOLE_TOKEN has it."
            return await self._show(request, form, status=403, problem=problem)
        response = self._frame.redirect(local_path(form.values["next"]) or "/")
        self._sessions.open(response, session)
        return response

    @page("POST", "/sign-out", Access.LOOK)
    async def sign_out(self, _: web.Request) -> web.StreamResponse:
        """Sign out."""
        response = self._frame.redirect(PATH, Outcome(PATH, "You have signed out."))
        self._sessions.close(response)
        return response

    async def _show(
        self, request: web.Request, form: Form, *, status: int = 200, problem: str = ""
    ) -> web.StreamResponse:
        return await self._frame.show(
            request,
            "console/sign_in.html",
            status=status,
            form=form,
            problem=problem,
            works=keeps_cookies(request),
            address=absolute(request, ""),
            development=self._frame.settings.env == "development",
        )
