"""The OpenAPI documents: complete, exact, and readable. Answers are checked in all other tests."""

import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web
from openapi_spec_validator import OpenAPIV31SpecValidator
from pytest_aiohttp.plugin import AiohttpClient

from rowlock.http.openapi.document import build
from rowlock.http.openapi.page import render
from rowlock.http.openapi.routes import DOCUMENTS as SERVED
from rowlock.http.openapi.shapes import record, text
from rowlock.http.routes import Routes, endpoint_of, route
from rowlock.http.service import Parts, Service
from rowlock.services import COMMERCE, PROJECTS, SERVICES
from rowlock.settings import Settings
from rowlock.settings.names import ServiceName
from tests.support.conformance import Document
from tests.support.contract import UNKEPT, routes_of
from tests.support.roles import create_app
from tests.support.services import quiet, spied_on
from tests.support.types import Client

TENANT = {"auth0_domain": "x.eu.auth0.com", "auth0_audience": "https://rowlock.example"}


def document(service: Service, **changes: object) -> dict[str, Any]:
    app = create_app(service, Settings().changed(**changes), "postgresql://")
    return app[SERVED].openapi


DOCUMENTS = {name: document(service, commerce_token="x") for name, service in SERVICES.items()}
OPERATIONS = {
    f"{name} {method.upper()} {path}": (Document(described), path, operation)
    for name, described in DOCUMENTS.items()
    for path, methods in described["paths"].items()
    for method, operation in methods.items()
}
WRITES = {
    name: case
    for name, case in OPERATIONS.items()
    if name.split()[1] in {"POST", "PUT", "PATCH", "DELETE"}
}
STREAMS = {"/events/stream"}  # without HEAD
operations = pytest.mark.parametrize(
    ("described", "path", "operation"), OPERATIONS.values(), ids=OPERATIONS
)


@pytest.mark.parametrize("name", SERVICES)
def test_document__each_service__is_openapi_3_1(name: ServiceName) -> None:
    assert DOCUMENTS[name]["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(DOCUMENTS[name]).validate()


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_document__each_service__has_every_route(service: Service) -> None:
    assert set(routes_of(service)) == {
        (method.upper(), path)
        for path, methods in DOCUMENTS[service.name]["paths"].items()
        for method in (*methods, *({"head"} if "get" in methods and path not in STREAMS else ()))
    }


class Other(Routes):
    tag = "orders"

    @route("GET", "/other", {200: record("Order", other=text("x"))})
    async def get_other(self, _: web.Request) -> web.Response:
        """Answer with another order."""
        raise NotImplementedError


def test_document__two_shapes_of_one_name__refused() -> None:
    seen: list[Parts] = []
    create_app(spied_on(COMMERCE, seen), Settings(), "postgresql://")
    routes = [route for group in seen[0].routes for route in group]
    build(COMMERCE, Settings(), routes)
    with pytest.raises(ValueError, match="Order"):
        build(COMMERCE, Settings(), [*routes, *Other()])


@operations
def test_operation__any__is_described_with_examples(
    described: Document, path: str, operation: dict[str, Any]
) -> None:
    assert re.fullmatch(r"[A-Z][a-z]+ [^.;]+", operation["summary"])
    assert len(operation["summary"]) <= 72
    parameters = [described.resolve(parameter) for parameter in operation["parameters"]]
    parameters = [one | {"schema": described.resolve(one["schema"])} for one in parameters]
    assert {one["name"] for one in parameters if one["in"] == "path"} == {
        part[1:-1] for part in path.split("/") if part.startswith("{")
    }
    for parameter in parameters:
        for example in parameter["schema"]["examples"]:
            described.validator(parameter["schema"])(example)
        if "default" in parameter["schema"]:
            described.validator(parameter["schema"])(parameter["schema"]["default"])
    answers = [described.resolve(answer) for answer in operation["responses"].values()]
    for node in [*answers, operation.get("requestBody", {})]:
        for content in node.get("content", {}).values():
            examples = [one["value"] for one in content.get("examples", {}).values()]
            for example in examples or [content["example"]]:
                described.validator(content["schema"])(example)


# Groups of routes whose style a brief has published: docs/api.md has the table.
OWN_STYLE = {"orders", "projects"}


def names_in(described: Document, node: Any) -> set[str]:
    """The names of all fields in a part of a document, and in what that refers to."""
    if isinstance(node, list):
        return set().union(*(names_in(described, one) for one in node))
    if not isinstance(node, dict):
        return set()
    node = described.resolve(node)
    own = {str(name) for name in node.get("properties", ())}
    parts = [part for name, part in node.items() if name not in {"example", "examples"}]
    return own.union(*(names_in(described, part) for part in parts))


@operations
def test_names__any_operation__in_snake_case_but_for_published_styles(
    described: Document, path: str, operation: dict[str, Any]
) -> None:
    parameters = [described.resolve(one) for one in operation["parameters"]]
    names = {one["name"] for one in parameters if one["in"] != "header"}
    if not OWN_STYLE & set(operation["tags"]):
        names |= names_in(described, operation)
    assert all(re.fullmatch("[a-z][a-z0-9]*(_[a-z0-9]+)*", name) for name in names), names


@operations
def test_schemas__any_operation__no_nameless_objects_and_one_for_errors(
    described: Document, path: str, operation: dict[str, Any]
) -> None:
    for status, reference in operation["responses"].items():
        answer = described.resolve(reference)
        if "x-error-codes" in answer:
            name = "BenefitsError" if path.startswith("/api/") else "Error"
            schemas = {media: one["schema"] for media, one in answer["content"].items()}
            assert schemas == {
                "application/json": {"$ref": f"#/components/schemas/{name}"},
                "application/problem+json": {"$ref": "#/components/schemas/Problem"},
            }, status
    nodes = [
        operation.get("requestBody", {}),
        *map(described.resolve, operation["responses"].values()),
    ]
    for node in nodes:
        for content in node.get("content", {}).values():
            schema = content["schema"]
            assert schema.get("items", schema).get("type") not in {"object", "array"}


@pytest.mark.parametrize("name", SERVICES)
def test_document__each_service__says_where_whose_and_what(name: ServiceName) -> None:
    described = DOCUMENTS[name]
    assert next(iter(described)) == "servers"
    port = SERVICES[name].port(Settings())
    assert described["servers"] == [{"url": f"http://localhost:{port}"}]
    assert described["info"]["license"]["identifier"] == "Apache-2.0"
    assert all(re.fullmatch(r"[A-Z].*\.", tag["description"]) for tag in described["tags"])
    public = document(SERVICES[name], **{f"public_{name}_url": "https://rowlock.example"})
    assert public["servers"] == [{"url": "https://rowlock.example"}]


@operations
def test_links__to_what_was_created__lead_to_an_operation_with_its_parameters(
    described: Document, path: str, operation: dict[str, Any]
) -> None:
    created = described.resolve(operation["responses"].get("201", {}))
    for link in created.get("links", {}).values():
        [target] = [
            one
            for methods in described.openapi["paths"].values()
            for one in methods.values()
            if one["operationId"] == link["operationId"]
        ]
        wanted = [one["name"] for one in target["parameters"] if one.get("in") == "path"]
        assert list(link["parameters"]) == wanted
        schema = described.resolve(created["content"]["application/json"]["schema"])
        for expression in link["parameters"].values():
            start, _, last = re.split("([#.])(?!.*[#.])", expression)
            if start == "$response.body":
                assert last.removeprefix("/") in schema["properties"]
            else:
                assert (start, f"{{{last}}}" in path) == ("$request.path", True)
    assert ("Location" in created.get("headers", {})) == ("links" in created)


@pytest.mark.parametrize("name", SERVICES)
def test_operation_ids__each_service__are_unique(name: str) -> None:
    ids = [case[2]["operationId"] for key, case in OPERATIONS.items() if key.startswith(name)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(("described", "path", "operation"), WRITES.values(), ids=WRITES)
def test_idempotency_key__any_write_but_those_not_kept__is_described(
    described: Document, path: str, operation: dict[str, Any]
) -> None:
    names = {described.resolve(one)["name"] for one in operation["parameters"]}
    has_key = ("POST", path) not in UNKEPT
    assert ("Idempotency-Key" in names) == has_key
    assert not has_key or "422" in operation["responses"]  # a key used again
    kept = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
    assert all(("Idempotency-Replayed" in answer["headers"]) == has_key for answer in kept)


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_preconditions__routes_of_what_has_a_tag__are_described(method: str) -> None:
    operation = DOCUMENTS[ServiceName.COMMERCE]["paths"]["/service-orders/{id}"][method]
    assert {"If-Match", "If-None-Match"} <= {one.get("name") for one in operation["parameters"]}
    assert "412" in operation["responses"]


KEYS = ["a", "x" * 255, '"a"', '"' + "x" * 255 + '"', r'"\"\\"', "a b", "~!", 'a"b']
NO_KEYS = ["", " ", '"', '""', "x" * 256, '"' + "x" * 256 + '"', '"a', "é", "a\n", "a ", r'"\a"']


def test_idempotency_key__pattern__takes_what_the_service_takes() -> None:
    shared = Document(DOCUMENTS[ServiceName.COMMERCE])
    schema = shared.openapi["components"]["parameters"]["IdempotencyKey"]["schema"]
    accepts = shared.validator(schema)
    for key in KEYS:
        accepts(key)
    for key in NO_KEYS:
        with pytest.raises(ValueError, match="does not match"):
            accepts(key)


def security(described: dict[str, Any], path: str) -> list[str]:
    [operation, *_] = described["paths"][path].values()
    return [name for one in operation["security"] for name in one]


def test_security__by_settings__what_each_route_wants() -> None:
    opened, closed = document(COMMERCE), document(COMMERCE, commerce_token="x")
    assert security(opened, "/invoices") == ["key"]
    assert {} in opened["paths"]["/invoices"]["get"]["security"]  # or nothing at all
    assert security(closed, "/invoices") == ["token", "key"]
    assert security(closed, "/healthz") == security(closed, "/docs") == []
    assert security(closed, "/") == []
    assert security(document(PROJECTS), "/projects") == ["token", "key"]
    assert security(opened, "/metrics") == []
    assert security(closed, "/metrics") == ["token"]
    assert security(document(PROJECTS, **TENANT, metrics_token="y"), "/metrics") == ["metricsToken"]
    tenant = document(PROJECTS, **TENANT)
    assert security(tenant, "/metrics") == ["token"]
    assert security(tenant, "/projects") == ["token", "key", "auth0"]
    assert security(tenant, "/deployment/webhook") == ["webhookSecret", "webhookSignature"]
    assert set(tenant["components"]["securitySchemes"]) == {
        "key",
        "token",
        "auth0",
        "webhookSecret",
        "webhookSignature",
    }


def test_schema__of_a_field__is_exact() -> None:
    path = DOCUMENTS[ServiceName.COMMERCE]["paths"]
    described = Document(DOCUMENTS[ServiceName.COMMERCE])

    def body(path_: str) -> dict[str, Any]:
        content = path[path_]["post"]["requestBody"]["content"]["application/json"]
        return described.resolve(content["schema"])

    invoice = body("/invoices")
    assert invoice["properties"]["amount"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 10**12,
    }
    assert invoice["properties"]["label"]["maxLength"] == 500
    assert invoice["required"] == ["amount", "label", "user_id"]
    assert invoice["additionalProperties"] is False
    booking = body("/service-orders")
    services = booking["properties"]["services"]
    assert (services["minItems"], services["maxItems"], services["uniqueItems"]) == (1, 100, True)
    assert booking["properties"]["datetime"]["format"] == "date-time"
    parameters = {one.get("name"): one for one in path["/service-orders"]["get"]["parameters"]}
    assert parameters["limit"]["schema"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 100,
        "examples": [1],
    }  # no default: without it, the answer has all orders
    assert "default" not in parameters["from"]["schema"]


def test_examples__of_rejections__have_details() -> None:
    responses = document(PROJECTS)["components"]["responses"]
    examples = {
        code: example["value"]["details"]
        for response in responses.values()
        for code, example in response["content"]["application/json"]["examples"].items()
    }
    assert examples["deployment_not_ongoing"] == {"deployment_id": 6, "status": "done"}
    assert examples["internal_error"] == {}


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_examples__of_bodies__are_loaded(service: Service) -> None:
    for served in create_app(service, Settings(), "postgresql://").router.routes():
        endpoint = endpoint_of(served.handler)
        assert endpoint is not None
        if endpoint.body is not None:
            assert endpoint.body.load(endpoint.example) is not None, endpoint.path


async def test_openapi__served__is_the_document(commerce: Client) -> None:
    response = await commerce.get("/openapi.json")
    assert response.status == 200
    servers = [{"url": str(commerce.make_url("")).rstrip("/")}]
    assert await response.json() == document(COMMERCE) | {"servers": servers}


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
async def test_docs__any_service__a_page_of_every_operation(
    aiohttp_client: AiohttpClient, service: Service
) -> None:
    client = await aiohttp_client(create_app(quiet(service), Settings(), "postgresql://"))
    response = await client.get("/docs")
    assert response.status == 200
    page = await response.text()
    for name, case in OPERATIONS.items():
        if name.startswith(service.name):
            assert f'<div id="{case[2]["operationId"]}">' in page
    assert "<script" not in page
    assert not re.search("(?:href|src)=[^>]*//", page)
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src '")


class Outline(HTMLParser):
    """The elements of a page. What is opened is closed, in reverse order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.path: list[str] = []
        self.seen: list[tuple[str, ...]] = []
        self.scopes: list[str | None] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.path.append(tag)
            self.seen.append(tuple(self.path))
        if tag == "th":
            self.scopes.append(dict(attrs)["scope"])

    def handle_endtag(self, tag: str) -> None:
        assert self.path.pop() == tag


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
async def test_docs__structure__main_headings_and_heads_of_tables(service: Service) -> None:
    outline = Outline(render(document(service)))
    assert outline.path == []
    body = ("html", "main")
    assert all(path[:2] == body for path in outline.seen if path[-1] in {"h1", "nav", "details"})
    levels = [int(path[-1][1]) for path in outline.seen if re.fullmatch("h[1-6]", path[-1])]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    tables = [path for path in outline.seen if path[-1] == "table"]
    assert set(outline.scopes) == {"col", "row"}
    assert len([path for path in outline.seen if path[-2:] == ("table", "thead")]) == len(tables)
    rows = [path for path in outline.seen if path[-2:] == ("tbody", "tr")]
    assert outline.scopes.count("row") == len(rows)
