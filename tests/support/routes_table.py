"""The table of routes in docs/api.md: `python -m tests.support.routes_table` renews it."""

from collections.abc import Iterator
from typing import Any

from rowlock.http.errors import status_of
from rowlock.http.openapi.components import resolve
from rowlock.http.openapi.routes import DOCUMENTS
from rowlock.http.routes import Route
from rowlock.http.service import Service
from rowlock.services import SERVICES
from rowlock.settings import Settings
from tests.support.contract import SYSTEM
from tests.support.documents import ROOT
from tests.support.roles import create_app

PAGE = ROOT / "docs/api.md"
START, END = "<!-- routes: made by python -m tests.support.routes_table -->", "<!-- /routes -->"
HEADS = ("route", "does", "query or body", "answers")


def renewed(page: str) -> str:
    """The page with the table as the code has it."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{table()}\n{END}{after}"


def table() -> str:
    """A table for each service, and one of what every service has."""
    parts, shared = [], []
    for service in SERVICES.values():
        rows = [*_rows(service)]
        own = [row for path, row in rows if path not in SYSTEM]
        if own:  # the console has pages only
            parts += [f"### {service.name.title()}, port {service.port(Settings())}\n"]
            parts += [*_table(own), ""]
        shared = [row for path, row in rows if path in SYSTEM]
    return "\n".join([*parts, "### Every service\n", *_table(shared), ""])


def _rows(service: Service) -> Iterator[tuple[str, tuple[str, ...]]]:
    documents = create_app(service, Settings(), "postgresql://")[DOCUMENTS]
    for route in documents.routes:
        method, path = route.endpoint.method, route.endpoint.template
        operation = documents.openapi["paths"][path][method.lower()]
        cells = (
            f"`{method} {path}`",
            operation["summary"],
            _takes(documents.openapi, operation),
            _answers(route),
        )
        yield path, cells


def _takes(document: dict[str, Any], operation: dict[str, Any]) -> str:
    """The names of its query's parameters, or of its body's fields: `?` where one is optional."""
    names = [f"?{one['name']}=" for one in operation["parameters"] if one.get("in") == "query"]
    if "requestBody" in operation:
        [content] = operation["requestBody"]["content"].values()
        schema = resolve(document, content["schema"])
        required = schema.get("required", ())
        fields = schema["properties"]
        names = [name if name in required else f"{name}?" for name in fields]
        names.sort(key=lambda name: name.endswith("?"))
    return ", ".join(f"`{name}`" for name in names)


def _answers(route: Route) -> str:
    """Its answers, and its own errors: not those that any route may answer."""
    answers = {str(status): "" for status in route.endpoint.answers}
    for kind in sorted(route.endpoint.refusals, key=lambda kind: kind.code):
        status = str(int(status_of(kind(), route.endpoint.path)))
        answers[status] = answers.get(status, "") + f" `{kind.code}`"
    return ", ".join(status + codes for status, codes in sorted(answers.items()))


def _table(rows: Iterator[tuple[str, ...]] | list[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(HEADS)} |"
    yield "|---" * len(HEADS) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text("utf-8")), "utf-8")
