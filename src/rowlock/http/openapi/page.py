"""An OpenAPI document as a page of HTML."""

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from rowlock.http.openapi import curl, html
from rowlock.http.openapi.components import resolve
from rowlock.http.openapi.html import inline, paragraphs, table
from rowlock.http.openapi.shapes import PROBLEM

Node = dict[str, Any]

FIELD_HEADS = ("field", "type", "meaning")


def render(document: Node) -> str:
    """Return the page."""
    info = document["info"]
    operations = [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    sections = "".join(
        f"<h2>{escape(tag['name'])}</h2>"
        + "".join(_operation(document, *one) for one in operations if tag["name"] in one[2]["tags"])
        for tag in document["tags"]
    )
    links = "".join(
        f'<li><a href="#{operation["operationId"]}">{_method(method)} '
        f"<code>{escape(path)}</code></a></li>"
        for method, path, operation in operations
    )
    content = (
        f"{paragraphs(info['description'])}{_security(document)}"
        '<p>The same as <a href="openapi.json">OpenAPI 3.1</a>.</p>'
        f'<nav aria-label="Operations"><ul>{links}</ul></nav>{sections}'
    )
    return html.frame(info["title"], info["version"], content)


def _security(document: Node) -> str:
    schemes = document["components"].get("securitySchemes", {})
    if not schemes:
        return "<p>This service is open: nothing here needs a token.</p>"
    rows = [
        (name, " ".join(str(value) for key, value in scheme.items() if key != "description"),
         scheme.get("description", ""))
        for name, scheme in schemes.items()
    ]  # fmt: skip
    return (
        "<h2>Credentials</h2>"
        + table(("name", "scheme", "meaning"), rows)
        + paragraphs("The examples take a token from the variable `TOKEN`. This asks for it:")
        + html.command("read -rs TOKEN")
    )


def _operation(document: Node, method: str, path: str, operation: Node) -> str:
    known = [resolve(document, one) for one in operation["parameters"]]
    parameters = [{**one, "schema": resolve(document, one["schema"])} for one in known]
    line = curl.example(method, path, operation, parameters, _scheme(document, operation))
    parts = [
        paragraphs(operation.get("description", "")),
        _credentials(operation),
        html.command(line),
        "<h4>Parameters</h4>",
        table(
            ("name", "in", "type", "meaning", "example"),
            (
                (
                    one["name"],
                    one["in"] + (", required" if one.get("required") else ""),
                    _kind(document, one["schema"]),
                    one.get("description", ""),
                    f"`{one['schema']['examples'][0]}`",
                )
                for one in parameters
            ),
        ),
    ]
    if "requestBody" in operation:
        parts += ["<h4>Body</h4>", _content(document, operation["requestBody"])]
    parts.append("<h4>Answers</h4>")
    for status, reference in operation["responses"].items():
        answer = resolve(document, reference)
        inside = _headers(document, answer) + _content(document, answer)
        parts.append(_folded(f"<b>{status}</b> {inline(answer['description'])}", inside))
    head = f"{_method(method)} <code>{escape(path)}</code> {inline(operation['summary'])}"
    return _folded(f"<h3>{head}</h3>", "".join(parts), operation["operationId"])


def _credentials(operation: Node) -> str:
    ways = [
        f"{name} ({', '.join(scopes)})" if scopes else name
        for one in operation["security"]
        for name, scopes in one.items()
    ]
    need = "May be sent with" if {} in operation["security"] else "Needs"
    return f"<p>{need} {escape(' or '.join(ways))}.</p>" if ways else ""


def _scheme(document: Node, operation: Node) -> Mapping[str, Any] | None:
    """Return the security scheme that an example uses; None if it needs none."""
    first: Mapping[str, Any] = next(iter(operation["security"]), {})
    schemes: Mapping[str, Node] = document["components"].get("securitySchemes", {})
    return next((schemes[name] for name in first), None)


def _headers(document: Node, answer: Node) -> str:
    headers = {name: resolve(document, one) for name, one in answer["headers"].items()}
    return table(
        ("header", "example", "meaning"),
        (
            (name, f"`{header['schema']['examples'][0]}`", header.get("description", ""))
            for name, header in headers.items()
        ),
    )


def _content(document: Node, node: Node) -> str:
    parts = []
    for media, content in node.get("content", {}).items():
        if media == PROBLEM:  # as the introduction says: the same everywhere
            continue
        fields = [*_fields(document, content["schema"], "")]
        parts += [f"<p><code>{escape(media)}</code></p>", table(FIELD_HEADS, fields)]
        examples = [one["value"] for one in content.get("examples", {}).values()]
        for example in examples or [content["example"]]:
            shown = example if isinstance(example, str) else json.dumps(example, indent=2)
            parts.append(f"<pre>{escape(shown)}</pre>")
    return "".join(parts)


def _fields(document: Node, schema: Node, at: str) -> Iterator[Sequence[str]]:
    """Yield a row for each field of a body, by its dotted path."""
    schema = resolve(document, schema)
    if schema.get("type") == "array":
        yield f"{at}[]", _kind(document, schema), schema.get("description", "")
        yield from _fields(document, schema["items"], f"{at}[]")
    elif "properties" in schema:
        for name, reference in schema["properties"].items():
            part = resolve(document, reference)
            path = f"{at}.{name}" if at else name
            if part.get("type") != "array":
                optional = "" if name in schema.get("required", ()) else "optional "
                yield path, optional + _kind(document, part), part.get("description", "")
            yield from _fields(document, part, path)


def _kind(document: Node, schema: Node) -> str:
    """Return what a schema accepts, in a few words."""
    schema = resolve(document, schema)
    if "anyOf" in schema:
        return " or ".join(_kind(document, one) for one in schema["anyOf"])
    kind = schema.get("type", "anything")
    words = [kind if isinstance(kind, str) else " or ".join(kind)]
    if "items" in schema:
        words = [f"array of {_kind(document, schema['items'])}"]
    if "enum" in schema:
        words = [" | ".join(map(str, schema["enum"]))]
    words += [str(schema["format"])] if "format" in schema else []
    for low, high, unit in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
    ):
        if high in schema:
            words.append(f"{schema.get(low, 0)} to {schema[high]}{unit}")
        elif low in schema:
            words.append(f"from {schema[low]}{unit}")
    words += [f"default {schema['default']}"] if schema.get("default") is not None else []
    return ", ".join(words)


def _method(method: str) -> str:
    return f'<span class="method {method}">{method.upper()}</span>'


def _folded(head: str, inside: str, anchor: str = "") -> str:
    # Inside, as a link to what is folded away unfolds it.
    name = f' id="{escape(anchor)}"' if anchor else ""
    return f"<details><summary>{head}</summary><div{name}>{inside}</div></details>"
