"""docs/scopes.md: which scope an API key needs for which route, as the routes say."""

from rowlock.http.routes import endpoint_of, scope_of
from rowlock.services import ROUTES

PREFACE = """\
# Scopes of API keys

An [API key](decisions/0049-api-keys.md) may do what its scopes say. `rowlock keys create` and
`POST /keys` give them. A request without the scope is a 403 `scope_missing`. `HEAD` needs what
`GET` needs. The service's token has all scopes. The webhook and the paths of the system, such as
`/healthz` and `/metrics`, have access of their own.

This page is what `rowlock keys scopes` prints.
"""


def describe() -> str:
    """Return the page."""
    parts = [PREFACE]
    for service, kinds in ROUTES.items():
        parts.append(f"## {service.capitalize()}\n\n| route | scope |\n|---|---|")
        for kind in kinds:
            for endpoint in filter(None, map(endpoint_of, vars(kind).values())):
                scope = scope_of(kind.tag, endpoint)
                if scope is not None:
                    parts.append(f"| `{endpoint.method} {endpoint.template}` | `{scope}` |")
        parts.append("")
    return "\n".join(parts)
