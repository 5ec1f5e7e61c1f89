"""The frame of pages: it renders templates, leads on to other pages, and shows errors."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from operator import attrgetter
from typing import Any, Protocol, TypeVar

from aiohttp import hdrs, web
from yarl import URL

from rowlock.engine.lanes import WriteLane
from rowlock.errors import RowlockError
from rowlock.http import errors
from rowlock.http.addresses import absolute
from rowlock.http.answers import BY_ACCEPT, head
from rowlock.http.exchange import EXCHANGE
from rowlock.http.negotiation import preferred
from rowlock.http.openapi.shapes import HTML, JSON
from rowlock.pages.cookies import Cookies
from rowlock.pages.forms import Form, Outcome, submit_form
from rowlock.pages.lists import PART
from rowlock.pages.sessions import SESSION
from rowlock.pages.templates import BASE, make_environment
from rowlock.rejections import Rejection
from rowlock.settings import Settings

NOTICE = "__Host-rowlock-notice"
NOTICE_S = 60
MOST_TOLD = 5  # refusals in a notice, which is a cookie
LIVE = "live_"  # how the blocks of templates begin that can be renewed alone

Command = TypeVar("Command")
Result = TypeVar("Result")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
PAGE_HEAD = head(
    {
        "Content-Type": f"{HTML}; charset=utf-8",
        "Content-Security-Policy": POLICY,
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
)
TOO_MANY, TRIES_S = 429, 60  # tries to sign in are counted by the minute
# What a visitor can do about errors, by their status; about a few of them, by their code.
ADVICE: Mapping[int | str, str] = {
    "invalid_cursor": "Open the list without `cursor` in its address, and go on from there.",
    "cross_site_request": "Open it at this service's own address, and use the form there.",
    400: "Change the address, or go back and correct what was entered.",
    401: "Sign in, then do it again.",
    403: "Sign in with a token that may act, or ask an operator who has one.",
    404: "It may have been removed, or the address is misspelt.",
    405: "Go back, and use the links and the forms of the pages.",
    409: "Go back and look at it as it is now.",
    413: "Enter less.",
    415: "Use the form on the page.",
    422: "Its form was changed after it had been sent once. Open the page again.",
    TOO_MANY: "Wait a minute, then try again.",
    500: "It has been logged, under the id below.",
    503: "Wait a moment, then load this page again. Forms can be sent again: they act once.",
}


class Surroundings(Protocol):
    """What stands around the content of each page, such as a rail of places."""

    async def renew(self) -> None:
        """Bring it up to date, if it is too old. Never raises."""

    def values(self) -> Mapping[str, Any]:
        """Return what the templates need to show it."""


class Frame:
    """The frame of one kind of pages."""

    def __init__(
        self, settings: Settings, cookies: Cookies, name: str, surroundings: Surroundings | None
    ) -> None:
        """`name` is that of the package with the templates `layout.html` and `error.html`."""
        self.settings = settings
        self._cookies = cookies
        self._name = name
        self._surroundings = surroundings
        self._environment = make_environment(settings.money)

    async def show(
        self, request: web.Request, template: str, *, status: int = 200, **values: Any
    ) -> web.Response:
        """Return the page that `template` makes of `values`, or one of its live parts.

        If the query names a `part`, that is the block `live_PART` of the template alone.
        """
        if self._surroundings is not None:
            await self._surroundings.renew()
        return self._render(request, template, status, values)

    def fragment(self, request: web.Request, template: str, **values: Any) -> str:
        """Return the HTML that `template` makes of `values`, for a live part that is sent."""
        BASE.set(base_of(request))
        return self._environment.get_template(template).render(values)

    def part(self, request: web.Request, template: str, name: str, **values: Any) -> str:
        """Return a live part of a page as all visitors see it: it may not show who is signed in."""
        BASE.set(base_of(request))
        made = self._environment.get_template(template)
        return "".join(made.blocks[f"{LIVE}{name}"](made.new_context(values)))

    def redirect(
        self, path: str, notice: Outcome | None = None, *, status: int = 303
    ) -> web.Response:
        """Return the answer that leads on to a page, which shows `notice` once."""
        response = web.Response(status=status, headers=head({hdrs.LOCATION: path}))
        if notice is not None:
            data = {"text": notice.text, "is_good": notice.is_good}
            self._cookies.write(response, NOTICE, data, NOTICE_S)
        return response

    def name_space(self, _: web.Request) -> str:
        """Return the name space of the keys of a visitor's forms."""
        return self._name

    async def act(
        self,
        request: web.Request,
        form: Form,
        lane: WriteLane[Command, Result | Rejection],
        command: Command,
        *,
        to: str | Callable[[Result], str],
        tells: Callable[[Result], str],
        back: str | None = None,
        refuses: Callable[[Rejection], str] = attrgetter("message"),
        again: Callable[[str], Awaitable[web.Response]] | None = None,
    ) -> web.Response:
        """Submit the command of a form, once for its key; lead on to the page `to`.

        There the visitor sees what `tells` says of the result, or what `refuses` says of why it was
        refused; that on the page `back`, if there is one. Or `again` shows the form once more with
        what was entered, and why it was refused. Raises as `submit_form` does.
        """
        behind = back or (to if isinstance(to, str) else request.path)

        def present(result: "Result | Rejection") -> Outcome:
            if isinstance(result, Rejection):
                return Outcome(behind, refuses(result), is_good=False)
            return Outcome(to if isinstance(to, str) else to(result), tells(result))

        outcome = await submit_form(
            request, form, lane, command, name_space=self.name_space(request), present=present
        )
        if again is not None and not outcome.is_good:
            return await again(outcome.text)
        return self.redirect(outcome.to, outcome)

    async def act_on_all(
        self,
        request: web.Request,
        form: Form,
        lane: WriteLane[Command, Result | Rejection],
        commands: Mapping[int, Command],
        *,
        to: str,
        tells: Callable[[int], str],
    ) -> web.Response:
        """Submit the commands of a form, by the id that each is about; lead on to the page `to`.

        Each is done or refused by itself, once. The visitor sees what `tells` says of how many were
        done, and why others were refused. Raises as `submit_form` does; sent again, it goes on.
        """

        def present(result: "Result | Rejection") -> Outcome:
            if isinstance(result, Rejection):
                return Outcome(to, result.message, is_good=False)
            return Outcome(to, "")

        outcomes = await asyncio.gather(
            *(
                submit_form(
                    request,
                    form.part(str(each)),
                    lane,
                    command,
                    name_space=self._name,
                    present=present,
                )
                for each, command in commands.items()
            )
        )
        refused = [outcome.text for outcome in outcomes if not outcome.is_good]
        told = [tells(len(outcomes) - len(refused))]
        if refused:
            told += [f"{len(refused)} refused:", *refused[:MOST_TOLD]]
        if len(refused) > MOST_TOLD:
            told.append("…")
        return self.redirect(to, Outcome(to, " ".join(told), is_good=not refused))

    def respond(self, error: RowlockError, request: web.Request) -> web.Response:
        """Return the answer for an error: a page for clients that prefer HTML, else JSON."""
        if preferred(request, (JSON, HTML)) != HTML or hdrs.SEC_WEBSOCKET_KEY in request.headers:
            response = errors.respond(error, request)
            response.headers.update(BY_ACCEPT)
            return response
        status = errors.status_of(error)
        values = {
            "code": error.code,
            "message": error.message,
            "advice": ADVICE.get(error.code) or ADVICE.get(status, ""),
            "error_status": status,
            "request_id": request[EXCHANGE].request_id,
        }
        response = self._render(request, f"{self._name}/error.html", status, values)
        response.headers.update(errors.headers_of(error, request.app))
        response.headers.update(BY_ACCEPT)
        response[errors.ERROR_CODE] = error.code
        return response

    def _render(
        self, request: web.Request, template: str, status: int, values: Mapping[str, Any]
    ) -> web.Response:
        notice = self._cookies.read(request, NOTICE, NOTICE_S)
        own = {} if self._surroundings is None else self._surroundings.values()
        BASE.set(base_of(request))
        made = self._environment.get_template(template)
        part = request.rel_url.query.get(PART)
        block = made.blocks.get(f"{LIVE}{part}") if part else None
        context = {
            "layout": f"{self._name}/layout.html",
            "notice": notice,
            "place": "",
            "path": request.path,
            "refresh_s": self.settings.pages.pages_refresh_s,
            "request": request,
            "session": request.get(SESSION),
            **own,
            **values,
        }
        if block is not None:
            body = "".join(block(made.new_context(context)))
        else:
            body = made.render(context)
        response = web.Response(text=body, status=status, headers=PAGE_HEAD)
        if status == TOO_MANY:
            response.headers[hdrs.RETRY_AFTER] = str(TRIES_S)
        response.enable_compression()
        if notice is not None and block is None:
            self._cookies.remove(response, NOTICE)
        return response


def base_of(request: web.Request) -> str:
    """Return what paths begin with where the request came from: a proxy may have added it."""
    return URL(absolute(request, "") or "/").path.rstrip("/")
