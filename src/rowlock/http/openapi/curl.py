"""Requests as lines of curl, for bash and its like."""

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from rowlock.http.openapi.html import BASE
from rowlock.http.openapi.shapes import EVENT_STREAM, JSON

VARIABLE = "$TOKEN"  # the shell's, which stands for the token
BEARER = {"type": "http"}  # a security scheme


def line(path: str, scheme: Mapping[str, Any] | None, *options: str, flags: str = "-s") -> str:
    """Return the line that sends a request for `path`, with the credentials of `scheme`."""
    parts = ["curl", flags, shlex.quote(BASE + path)]
    if scheme is not None:
        name, value = "Authorization", f"Bearer {VARIABLE}"
        if scheme["type"] == "apiKey":
            name, value = scheme["name"], VARIABLE
        parts.append(f'-H "{name}: {value}"')  # quotes in which the shell fills in the variable
    return " ".join([*parts, *options])


def example(
    method: str,
    path: str,
    operation: Mapping[str, Any],
    parameters: Iterable[Mapping[str, Any]],
    scheme: Mapping[str, Any] | None,
) -> str:
    """Return the line that sends the example of an operation, which has these `parameters`."""
    examples = {one["name"]: str(one["schema"]["examples"][0]) for one in parameters}
    path = re.sub(r"{(\w+)}", lambda match: quote(examples[match[1]], safe=""), path)
    options = []
    if "requestBody" in operation:
        body = operation["requestBody"]["content"][JSON]["example"]
        sent = json.dumps(body, ensure_ascii=False)
        options = [f"-H 'Content-Type: {JSON}'", f"-d {shlex.quote(sent)}"]
    if method != ("post" if options else "get"):  # what curl sends by itself
        options.insert(0, f"-X {method.upper()}")
    streams = EVENT_STREAM in operation["responses"].get("200", {}).get("content", {})
    return line(path, scheme, *options, flags="-sN" if streams else "-s")
