"""Signing in to the shop: by a link that works once; on a developer's machine by a name."""

from functools import partial
from time import monotonic_ns
from typing import Any

import marshmallow
from aiohttp import web

from rowlock.accounts.names import USERNAME_LENGTH
from rowlock.benefits import Benefits
from rowlock.errors import InvalidRequest
from rowlock.http.access import origin_of
from rowlock.http.addresses import ADDRESSES, absolute
from rowlock.http.buckets import Buckets
from rowlock.http.fields import Text
from rowlock.http.origins import check_origin
from rowlock.pages.declaring import Access, Pages, page
from rowlock.pages.forms import Form, Outcome, read_form
from rowlock.pages.frames import Frame
from rowlock.pages.sessions import Session, Sessions, keeps_cookies
from rowlock.shop import PATH, links
from rowlock.shop.baskets import Baskets

SIGN_IN = f"{PATH}/sign-in"
SECRET_LENGTH = 100
SECONDS = 60  # in a minute
LINK_IS_GONE = "This link has been used, or it has expired. Ask for a new one."
TOO_MANY = "There were too many tries. Wait a minute."


class NameForm(marshmallow.Schema):
    """Who signs in."""

    name = Text(
        longest=USERNAME_LENGTH, required=True, error_messages={"required": "Enter a name."}
    )


class LinkForm(marshmallow.Schema):
    """The secret of a link."""

    secret = Text(longest=SECRET_LENGTH, required=True)


NAME_FORM, LINK_FORM = NameForm(), LinkForm()


def session_for(user_id: int, username: str) -> Session:
    """Return the session of a user."""
    return Session(username, f"shop:{user_id}")


class SignInPages(Pages):
    """Signing in and out."""

    def __init__(
        self, frame: Frame, sessions: Sessions, baskets: Baskets, benefits: Benefits
    ) -> None:
        self._frame = frame
        self._sessions = sessions
        self._baskets = baskets
        self._benefits = benefits
        self._tries = Buckets()

    @page("GET", SIGN_IN, Access.OPEN)
    async def show_sign_in(self, request: web.Request) -> web.StreamResponse:
        """Show how to sign in."""
        return await self._show(request, Form({}, {}))

    @page("POST", SIGN_IN, Access.OPEN)
    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        """Sign in by name, on a developer's machine; an unknown name gets an account."""
        form = await read_form(request, NAME_FORM)
        if not self._frame.settings.is_own_machine:
            return await self._show(request, form, status=403, problem="Come by your link.")
        if form.errors:
            return await self._show(request, form, status=400)
        try:
            shopper = await self._benefits.find_or_open(
                form.values["name"].strip(), origin_of(request), partial(check_origin, request)
            )
        except InvalidRequest as error:
            return await self._show(request, form, status=400, problem=error.message)
        if shopper is None:
            problem = "There is no such user."
            return await self._show(request, form, status=404, problem=problem)
        return self._enter(session_for(shopper.id, shopper.username))

    @page("GET", f"{PATH}/enter", Access.OPEN, is_private=True)
    async def ask_enter(self, request: web.Request) -> web.StreamResponse:
        """Ask to go on: what only looks at links, such as a mail filter, must not use them up."""
        secret = request.rel_url.query.get("secret", "")
        return await self._frame.show(
            request, "shop/enter.html", secret=secret[:SECRET_LENGTH], **self._place(request)
        )

    @page("POST", f"{PATH}/enter", Access.OPEN, is_private=True)
    async def enter(self, request: web.Request) -> web.StreamResponse:
        """Sign in by a link, and use it up."""
        form = await read_form(request, LINK_FORM)
        client = request.app[ADDRESSES].network(request)
        rate = self._frame.settings.pages.sign_ins_per_minute
        if not self._tries.take(client, rate, monotonic_ns() // SECONDS):
            return await self._show(request, Form({}, {}), status=429, problem=TOO_MANY)
        secret = form.values.get("secret")
        member = None if secret is None else await links.take(self._benefits.database, secret)
        if member is None:
            return await self._show(request, Form({}, {}), status=403, problem=LINK_IS_GONE)
        return self._enter(session_for(*member))

    @page("POST", f"{PATH}/sign-out", Access.LOOK)
    async def sign_out(self, _: web.Request) -> web.StreamResponse:
        """Sign out."""
        response = self._frame.redirect(SIGN_IN, Outcome(SIGN_IN, "You have signed out."))
        self._sessions.close(response)
        self._baskets.empty(response)
        return response

    def _enter(self, session: Session) -> web.StreamResponse:
        response = self._frame.redirect(PATH)
        self._sessions.open(response, session)
        self._baskets.empty(response)  # it may be another visitor's
        return response

    async def _show(
        self, request: web.Request, form: Form, *, status: int = 200, problem: str = ""
    ) -> web.StreamResponse:
        return await self._frame.show(
            request,
            "shop/sign_in.html",
            status=status,
            form=form,
            problem=problem,
            by_name=self._frame.settings.is_own_machine,
            **self._place(request),
        )

    def _place(self, request: web.Request) -> dict[str, Any]:
        return {"works": keeps_cookies(request), "address": absolute(request, "")}
