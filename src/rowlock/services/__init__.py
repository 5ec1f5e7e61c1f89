"""The services: what each one serves, where, from which database, and to whom.

Each has a module, with its routes and how it is built; `parts` has what several are built of.
"""

from collections.abc import Mapping

from rowlock.http.routes import Routes
from rowlock.services import commerce, events, projects
from rowlock.services.commerce import COMMERCE
from rowlock.services.console import CONSOLE
from rowlock.services.event_types import EVENT_TYPES
from rowlock.services.events import EVENTS
from rowlock.services.parts import open_keys, open_subscriptions
from rowlock.services.projects import PROJECTS
from rowlock.settings.names import ServiceName

__all__ = [
    "COMMERCE",
    "CONSOLE",
    "EVENTS",
    "EVENT_TYPES",
    "PROJECTS",
    "ROUTES",
    "SCOPES",
    "SERVICES",
    "open_keys",
    "open_subscriptions",
]

# The console has pages alone.
ROUTES: Mapping[ServiceName, tuple[type[Routes], ...]] = {
    ServiceName.COMMERCE: commerce.ROUTES,
    ServiceName.PROJECTS: projects.ROUTES,
    ServiceName.EVENTS: events.ROUTES,
}
# What a key of each service can be good for.
SCOPES = {
    ServiceName.COMMERCE: commerce.SCOPES,
    ServiceName.PROJECTS: projects.SCOPES,
    ServiceName.EVENTS: events.SCOPES,
}
SERVICES = {service.name: service for service in (COMMERCE, PROJECTS, EVENTS, CONSOLE)}
