"""The OpenAPI documents: complete, exact, and readable. Answers are checked in all other tests."""

from dataclasses import replace
from typing import Any

import marshmallow
import pytest
from aiohttp.test_utils import TestClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from rowlock.services import COMMERCE, PROJECTS, SERVICES
from rowlock.settings import Settings
from rowlock.http.openapi import document as docs
from rowlock.http.openapi.document import describe, record, text
from rowlock.http.service import Service
from tests.http.conformance import Document
from tests.roles import create_app

TENANT = {"auth0_domain": "x.eu.auth0.com", "auth0_audience": "https://rowlock.example"}


def document(service: Service, **changes: object) -> dict[str, Any]:
    return docs.build(create_app(service, replace(Settings(), **changes), "postgresql://"))


DOCUMENTS = {name: document(service, commerce_token="x") for name, service in SERVICES.items()}
OPERATIONS = {
    f"{name} {method.upper()} {path}": (Document(described), path, operation)
    for name, described in DOCUMENTS.items()
    for path, methods in described["paths"].items()
    for method, operation in methods.items()
}
WRITES = {
    name: case for name, case in OPERATIONS.items() if name.split()[1] in {"POST", "PUT", "DELETE"}
}
STREAMS = {"/events/stream"}  # without HEAD
operations = pytest.mark.parametrize(
    ("described", "path", "operation"), OPERATIONS.values(), ids=OPERATIONS
)


@pytest.mark.parametrize("name", SERVICES)
def test_document__each_service__is_openapi_3_1(name):
    assert DOCUMENTS[name]["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(DOCUMENTS[name]).validate()


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_document__each_service__has_every_route(service):
    routes = create_app(service, Settings(), "postgresql://").router.routes()
    assert {(route.method, route.resource.canonical) for route in routes} == {
        (method.upper(), path)
        for path, methods in DOCUMENTS[service.name]["paths"].items()
        for method in (*methods, *({"head"} if "get" in methods and path not in STREAMS else ()))
    }


def test_document__route_without_description__refused():
    app = create_app(COMMERCE, Settings(), "postgresql://")

    async def undescribed(_):
        raise NotImplementedError

    app.router.add_get("/undescribed", undescribed)
    with pytest.raises(KeyError, match="undescribed"):
        docs.build(app)


def test_document__two_shapes_of_one_name__refused():
    app = create_app(COMMERCE, Settings(), "postgresql://")

    @describe({200: record("Order", other=text("x"))})
    async def other(_):
        raise NotImplementedError

    other.__module__ = "rowlock.orders.routes"
    app.router.add_get("/other", other)
    with pytest.raises(ValueError, match="Order"):
        docs.build(app)


@operations
def test_operation__any__is_described_with_examples(described, path, operation):
    assert operation["summary"].endswith(".")
    parameters = [described.resolve(parameter) for parameter in operation["parameters"]]
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


@pytest.mark.parametrize("name", SERVICES)
def test_operation_ids__each_service__are_unique(name):
    ids = [case[2]["operationId"] for key, case in OPERATIONS.items() if key.startswith(name)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(("described", "path", "operation"), WRITES.values(), ids=WRITES)
def test_idempotency_key__any_write_but_to_events__is_described(described, path, operation):
    names = {described.resolve(one)["name"] for one in operation["parameters"]}
    has_key = described.openapi["info"]["title"] != "Rowlock events"
    assert ("Idempotency-Key" in names) == ("422" in operation["responses"]) == has_key
    kept = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
    assert all(("Idempotency-Replayed" in answer["headers"]) == has_key for answer in kept)


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_preconditions__routes_of_what_has_a_tag__are_described(method):
    operation = DOCUMENTS["commerce"]["paths"]["/service-orders/{id}"][method]
    assert {"If-Match", "If-None-Match"} <= {one.get("name") for one in operation["parameters"]}
    assert "412" in operation["responses"]


KEYS = ["a", "x" * 255, '"a"', '"' + "x" * 255 + '"', r'"\"\\"', "a b", "~!", 'a"b']
NO_KEYS = ["", " ", '"', '""', "x" * 256, '"' + "x" * 256 + '"', '"a', "é", "a\n", "a ", r'"\a"']


def test_idempotency_key__pattern__takes_what_the_service_takes():
    shared = Document(DOCUMENTS["commerce"])
    schema = shared.openapi["components"]["parameters"]["IdempotencyKey"]["schema"]
    accepts = shared.validator(schema)
    for key in KEYS:
        accepts(key)
    for key in NO_KEYS:
        with pytest.raises(ValueError, match="does not match"):
            accepts(key)


def security(described: dict[str, Any], path: str) -> list[str]:
    [operation, *_] = described["paths"][path].values()
    return [name for one in operation.get("security", described["security"]) for name in one]


def test_security__by_settings__what_each_route_wants():
    opened, closed = document(COMMERCE), document(COMMERCE, commerce_token="x")
    assert security(opened, "/invoices") == []
    assert security(closed, "/invoices") == ["token"]
    assert security(closed, "/healthz") == security(closed, "/docs") == []
    assert security(document(PROJECTS), "/projects") == ["token"]
    assert security(opened, "/metrics") == []
    assert security(closed, "/metrics") == ["token"]
    assert security(document(PROJECTS, **TENANT, metrics_token="y"), "/metrics") == ["metricsToken"]
    tenant = document(PROJECTS, **TENANT)
    assert security(tenant, "/metrics") == ["token"]
    assert security(tenant, "/projects") == ["token", "auth0"]
    assert security(tenant, "/deployment/webhook") == ["webhookSecret", "webhookSignature"]
    assert set(tenant["components"]["securitySchemes"]) == {
        "token",
        "auth0",
        "webhookSecret",
        "webhookSignature",
    }


def test_schema__of_a_field__is_exact():
    path = DOCUMENTS["commerce"]["paths"]
    invoice = path["/invoices"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert invoice["properties"]["amount"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 10**12,
    }
    assert invoice["properties"]["label"]["maxLength"] == 500
    assert invoice["required"] == ["amount", "label", "user_id"]
    assert invoice["additionalProperties"] is False
    booking = path["/service-orders"]["post"]["requestBody"]["content"]["application/json"]
    services = booking["schema"]["properties"]["services"]
    assert (services["minItems"], services["maxItems"], services["uniqueItems"]) == (1, 100, True)
    assert booking["schema"]["properties"]["datetime"]["format"] == "date-time"
    parameters = {one.get("name"): one for one in path["/service-orders"]["get"]["parameters"]}
    assert parameters["limit"]["schema"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 100,
        "default": 20,
        "examples": [20],
    }
    assert "default" not in parameters["from"]["schema"]


def test_examples__of_rejections__have_details():
    responses = document(PROJECTS)["components"]["responses"]
    examples = {
        code: example["value"]["details"]
        for response in responses.values()
        for code, example in response["content"]["application/json"]["examples"].items()
    }
    assert examples["deployment_not_ongoing"] == {"deployment_id": 6, "status": "done"}
    assert examples["internal_error"] == {}


def test_examples__of_bodies__are_loaded():
    for handler, description in docs._descriptions.items():
        if isinstance(description.body, marshmallow.Schema):
            assert description.body.load(description.example) is not None, handler


async def test_openapi__served__is_the_document(commerce):
    response = await commerce.get("/openapi.json")
    assert response.status == 200
    assert await response.json() == document(COMMERCE)


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
async def test_docs__any_service__a_page_of_every_operation(aiohttp_client, service):
    client: TestClient = await aiohttp_client(
        create_app(replace(service, tasks={}), Settings(), "postgresql://")
    )
    response = await client.get("/docs")
    assert response.status == 200
    page = await response.text()
    for name, case in OPERATIONS.items():
        if name.startswith(service.name):
            assert f'<div id="{case[2]["operationId"]}">' in page
    assert "script" not in page
    assert "http://" not in page
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src '")
