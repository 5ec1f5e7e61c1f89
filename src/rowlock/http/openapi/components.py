"""The schemas of a document, each once: what has a name is referred to where it is used."""

from typing import Any

from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter

from rowlock.http.bodies import ChangeBody
from rowlock.http.openapi.shapes import JsonSchema

REF = "#/components/schemas/"
NULL = {"type": "null"}


def refer(shape: JsonSchema, schemas: dict[str, JsonSchema]) -> JsonSchema:
    """Return `shape` with a reference to one of `schemas` for each shape in it that has a title.

    They are added there. Raises ValueError if two shapes have one title.
    """
    parts: JsonSchema = {}
    if "properties" in shape:
        properties = shape["properties"].items()
        parts["properties"] = {name: refer(part, schemas) for name, part in properties}
    if "items" in shape:
        parts["items"] = refer(shape["items"], schemas)
    if "anyOf" in shape:
        parts["anyOf"] = [refer(part, schemas) for part in shape["anyOf"]]
    component = {**shape, **parts}
    if "title" not in shape:
        return component
    title = shape["title"]
    if schemas.setdefault(title, component) != component:
        raise ValueError(f"There are two shapes called {title}.")
    return {"$ref": REF + title}


def resolve(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """Return what `node` refers to in the document, or itself."""
    if "$ref" not in node:
        return node
    _, _, kind, name = node["$ref"].split("/")
    found: dict[str, Any] = document["components"][kind][name]
    return found


class Converter(OpenAPIConverter):
    """Turns the schemas of bodies into components, and what has a title in them, too."""

    def field2default(self, field: Any, **_: Any) -> JsonSchema:
        """Return the default that a client may rely on: None is how a feature says 'left out'."""
        default: JsonSchema = super().field2default(field)
        return {name: value for name, value in default.items() if value is not None}

    def field2nullable(self, field: Any, ret: JsonSchema) -> JsonSchema:
        """Return what makes a field's schema take null, if it does: apispec leaves anyOf alone."""
        choices = ret.get("anyOf")
        if field.allow_none and choices and NULL not in choices:
            return {"anyOf": [*choices, NULL]}
        return super().field2nullable(field, ret)

    def schema2jsonschema(self, schema: Any) -> JsonSchema:
        """Return a schema as JSON Schema."""
        found = super().schema2jsonschema(schema)  # type: ignore[no-untyped-call]
        if isinstance(schema, ChangeBody):
            found["minProperties"] = 1
        return refer(found, self.spec.components.schemas)


class Bodies(MarshmallowPlugin):
    """The plugin of apispec that names each body by its class."""

    Converter = Converter

    def __init__(self) -> None:
        super().__init__(schema_name_resolver=lambda schema: type(schema).__name__)
