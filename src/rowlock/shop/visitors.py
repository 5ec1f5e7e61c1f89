"""Visitors: the users who are signed in, as they are now."""

from aiohttp import web

from rowlock.benefits import Benefits
from rowlock.benefits.rules import Shopper
from rowlock.pages.forms import Outcome
from rowlock.pages.frames import Frame
from rowlock.pages.sessions import Sessions, session_of
from rowlock.shop.sign_in import SIGN_IN

GONE = "Your account is not here any more. You have been signed out."


class Visitors:
    """The users behind sessions. A session does not know that its user was anonymised."""

    def __init__(self, frame: Frame, sessions: Sessions, benefits: Benefits) -> None:
        self._frame = frame
        self._sessions = sessions
        self._benefits = benefits

    async def find(self, request: web.Request) -> Shopper | None:
        """Return the user who is signed in; None if it was anonymised since."""
        session = session_of(request)
        shopper = await self._benefits.find_shopper.submit(session.name)
        # Another user may have got the name since.
        return shopper if shopper is not None and session.actor == f"shop:{shopper.id}" else None

    def sign_out(self) -> web.StreamResponse:
        """Lead a visitor out whose account is gone."""
        response = self._frame.redirect(SIGN_IN, Outcome(SIGN_IN, GONE, is_good=False))
        self._sessions.close(response)
        return response
