"""The client's methods against the OpenAPI documents: every route, its parameters, its answer."""

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, get_args, get_origin

import pytest

from rowlock.client import Caller, Commerce, Events, Projects
from rowlock.client.calls import Repeat, default_repeat
from rowlock.client.declared import Declared, Group
from rowlock.client.shapes import Record, fields_of
from tests.support.documents import ROOT

CLIENTS: dict[str, type[Caller]] = {"commerce": Commerce, "projects": Projects, "events": Events}
# Those of the whole service, and those that a method of another form calls.
OTHERS = re.compile(r"GET /(?:|healthz|readyz|readyz/writes|metrics|openapi\.json|docs)$")
STREAM = ("events", "GET /events/stream")
# What methods of the client do in another way: pages are followed, a relay is not the client's.
LEFT_OUT = {"cursor", "top"}


class Method(NamedTuple):
    """A method of the client, and the operation that it calls."""

    service: str
    declared: Declared
    operation: dict[str, Any]
    document: dict[str, Any]


def normal(path: str) -> str:
    """A path whose parameters have no names."""
    return re.sub(r"\{\w+\}", "{}", path)


def resolve(node: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """What a node says, or what it refers to."""
    while "$ref" in node:
        found: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def groups_of(client: type[Caller]) -> Iterator[type[Group]]:
    for base in client.__mro__:
        for attribute in vars(base).values():
            kind = inspect.get_annotations(getattr(attribute, "func", object)).get("return")
            if isinstance(kind, type) and issubclass(kind, Group):
                yield kind


def declared_in(client: type[Caller]) -> Iterator[Declared]:
    for group in groups_of(client):
        for method in vars(group).values():
            declared = getattr(method, "declared", None)
            if declared is not None:
                yield declared


def operations_of(service: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    document = json.loads((ROOT / f"docs/openapi/{service}.json").read_text())
    found = {
        f"{method.upper()} {normal(path)}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    return document, {route: found[route] for route in found if not OTHERS.match(route)}


DOCUMENTS = {service: operations_of(service) for service in CLIENTS}
METHODS = {
    f"{service} {declared.method} {declared.path}": Method(
        service,
        declared,
        DOCUMENTS[service][1].get(f"{declared.method} {normal(declared.path)}", {}),
        DOCUMENTS[service][0],
    )
    for service, client in CLIENTS.items()
    for declared in declared_in(client)
}
methods = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@pytest.mark.parametrize("service", CLIENTS)
def test_client__each_route__has_a_method(service: str) -> None:
    declared = {
        f"{method.declared.method} {normal(method.declared.path)}"
        for method in METHODS.values()
        if method.service == service
    }
    routes = {route for route in DOCUMENTS[service][1] if (service, route) != STREAM}
    assert declared == routes


@methods
def test_method__each_parameter__is_one_of_the_operation(method: Method) -> None:
    declared, operation, document = method.declared, method.operation, method.document
    parameters = [resolve(one, document) for one in operation["parameters"]]
    known = {
        "path": set(declared.places),
        "query": {one["name"] for one in parameters if one["in"] == "query"},
        "header": {one["name"] for one in parameters if one["in"] == "header"} | {"Authorization"},
        "body": set(),
    }
    required: set[str] = set()
    if "requestBody" in operation:
        body = resolve(operation["requestBody"], document)
        [content] = body["content"].values()
        schema = resolve(content["schema"], document)
        if declared.wraps:
            schema = resolve(schema["properties"][declared.wraps], document)
        known["body"] = set(schema.get("properties", ()))
        required = set(schema.get("required", ()))
    sent: dict[str, set[str]] = {place: set() for place in known}
    for place, name in declared.places.values():
        sent[place].add(name)
    assert all(sent[place] <= known[place] for place in known), (sent, known)
    assert required <= sent["body"]
    assert known["query"] - sent["query"] <= LEFT_OUT


@methods
def test_method__key__is_sent_where_the_service_keeps_it(method: Method) -> None:
    declared = method.declared
    names = {resolve(one, method.document)["name"] for one in method.operation["parameters"]}
    example = re.sub(r"\{\w+\}", "1", declared.path)
    default = default_repeat(declared.method, example)
    has_key = "Idempotency-Key" in names
    assert (default is Repeat.BY_KEY) == has_key
    assert (default is Repeat.READ) == (declared.method == "GET")
    # The others' effect does not add up: they have an id of their own, or move something forward.
    if declared.repeat is not None:
        assert (declared.repeat, example) in {
            (Repeat.BY_NATURE, "/events"),
            (Repeat.BY_NATURE, "/events/batch"),
            (Repeat.BY_NATURE, "/consumers/1/ack"),
        }


@methods
def test_method__answer__has_every_field_that_it_must(method: Method) -> None:
    declared, document = method.declared, method.document
    responses = method.operation["responses"]
    [success, *_] = [resolve(responses[each], document) for each in responses if each[0] == "2"]
    if declared.answer is type(None):
        assert "content" not in success
        return
    schema = resolve(success["content"]["application/json"]["schema"], document)
    if declared.within:
        schema = resolve(schema["properties"][declared.within], document)
    check(declared.answer, schema, document)


def check(kind: Any, schema: dict[str, Any], document: dict[str, Any]) -> None:
    """Hold a type to a schema: what the record demands must always be in an answer."""
    if get_origin(kind) is tuple:
        assert schema["type"] == "array"
        check(get_args(kind)[0], resolve(schema["items"], document), document)
        return
    if not (isinstance(kind, type) and issubclass(kind, Record)):
        return
    record: Any = kind
    for field in fields_of(record):
        if field.name == "etag":  # a header
            continue
        assert field.wire in schema["properties"], (kind, field)
        assert field.may_be_missing or field.wire in schema["required"], (kind, field)
        of_union = [field.kind] if get_origin(field.kind) is tuple else get_args(field.kind)
        kinds: tuple[Any, ...] = (field.kind, *of_union)
        for each in kinds:
            check(each, resolve(schema["properties"][field.wire], document), document)
