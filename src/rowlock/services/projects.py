"""Projects: the hosting panel."""

from rowlock.engine.retention import purge_answers
from rowlock.engine.wakes import Wakes
from rowlock.http.routes import Routes
from rowlock.http.service import Context, Parts, Service
from rowlock.keys.routes import KeyRoutes
from rowlock.pages.trying import open_plain
from rowlock.projects import Projects
from rowlock.projects.feed import Feed
from rowlock.projects.processor import time_out_deployments
from rowlock.projects.retention import purge_webhook_messages
from rowlock.projects.routes import ProjectRoutes
from rowlock.services.parts import deliver, measure_outbox, open_keys
from rowlock.settings.names import DatabaseName, ServiceName

ROUTES: tuple[type[Routes], ...] = (ProjectRoutes, KeyRoutes)
# What a key can be good for here.
SCOPES = frozenset[str]().union(*(routes.scopes() for routes in ROUTES))


def _build(context: Context) -> Parts:
    database, settings = context.database, context.settings
    projects = Projects(database, settings.batches, settings.projects)
    keys = open_keys(ServiceName.PROJECTS, database, settings.batches)
    wakes = Wakes(database, settings.tasks.processor_notify_s)
    feed = Feed(context.outbound, settings.addresses, settings.projects)
    return Parts(
        features=(projects, keys),
        routes=(ProjectRoutes(projects, feed), KeyRoutes(keys, SCOPES)),
        tasks=(
            *deliver(context, wakes, (projects, keys)),
            time_out_deployments(projects),
            purge_webhook_messages(projects, settings.tasks),
            purge_answers(database, settings),
        ),
        keyring=keys.ring,
        backlog=measure_outbox,
        site=open_plain(settings),
    )


PROJECTS = Service(
    name=ServiceName.PROJECTS,
    database=DatabaseName.MAIN,
    build=_build,
    port=lambda settings: settings.addresses.projects_port,
    public_url=lambda settings: settings.addresses.public_projects_url,
    token=lambda settings: settings.addresses.projects_token,
    body_bytes=lambda settings: settings.http.body_bytes,
    bodies_bytes=lambda settings: settings.http.bodies_bytes,
    client_rate=lambda settings: settings.http.client_rate,
    examples=("/projects", "/deployments", "/users/1/deployment-stats"),
    takes_jwts=True,
)
