"""All pages of the console, as one site. A new place is added here."""

from rowlock.console import Features
from rowlock.console.bookings import BookingPages
from rowlock.console.dead_letters import DeadLetterPages
from rowlock.console.deliveries import DeliveryPages
from rowlock.console.deployments import DeploymentPages
from rowlock.console.documents import DocumentPages
from rowlock.console.events import EventPages
from rowlock.console.health import HealthPages
from rowlock.console.invoice_forms import InvoiceFormPages
from rowlock.console.invoices import InvoicePages
from rowlock.console.orders import OrderPages
from rowlock.console.overview import Board, OverviewPages
from rowlock.console.rail import Rail, RailPages
from rowlock.console.sign_in import COOKIE, PATH, SignInPages, Tokens
from rowlock.console.statements import StatementPages
from rowlock.console.user_forms import UserFormPages
from rowlock.console.users import UserPages
from rowlock.pages.cookies import Cookies
from rowlock.pages.frames import Frame
from rowlock.pages.sessions import Sessions
from rowlock.pages.sites import Site
from rowlock.pages.trying import TryPages
from rowlock.settings import Settings


def open_console(features: Features, settings: Settings, board: Board) -> Site:
    """Return the console's pages."""
    cookies = Cookies(settings.pages, "console")
    tokens = Tokens(settings)
    sessions = Sessions(cookies, COOKIE, settings.pages.session_s, tokens.is_valid)
    rail = Rail(features.main, features.log, settings.pages.rail_s)
    frame = Frame(settings, cookies, "console", rail)
    overview = OverviewPages(frame, board, settings)
    groups = (
        overview,
        RailPages(frame),
        SignInPages(frame, sessions, tokens),
        OrderPages(frame, features),
        DeadLetterPages(frame, features),
        DeliveryPages(frame, features),
        StatementPages(frame, features),
        HealthPages(frame, features),
        BookingPages(frame, features),
        DeploymentPages(frame, features),
        EventPages(frame, features),
        UserPages(frame, features),
        UserFormPages(frame, features),
        InvoicePages(frame, features),
        InvoiceFormPages(frame, features),
        DocumentPages(frame, features),
        TryPages(settings),
    )
    return Site(frame, sessions, groups, sign_in=PATH, front=overview.show_overview)
