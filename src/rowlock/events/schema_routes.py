"""HTTP: the JSON Schemas of events, of which the answers are made once."""

import hashlib
from typing import Any, NamedTuple

import marshmallow
import orjson
from aiohttp import hdrs, web

from rowlock.engine.event_types import EventTypes
from rowlock.events.bodies import NAME_LENGTH
from rowlock.http.answers import CONTENT_TYPE, head
from rowlock.http.etags import ETAG, IF_NONE_MATCH, Preconditions, etag
from rowlock.http.fields import QueryInteger
from rowlock.http.openapi.shapes import AnswerShape, array, integer, mapping, record, text
from rowlock.http.request import path_text, read_query
from rowlock.http.routes import Routes, route
from rowlock.rejections import EventTypeNotFound


class SchemaQuery(marshmallow.Schema):
    """Which version."""

    version = QueryInteger(load_default=None)


SCHEMA_QUERY = SchemaQuery()
LISTED = record(
    "EventType",
    name=text("invoice.paid"),
    version=integer(1),
    description=text("An invoice was paid, and its user was credited."),
    subject=text("invoice:{invoice_id}"),
    url=text("/events/schemas/invoice.paid?version=1"),
)
SCHEMA = mapping("JsonSchema", {"$schema": "https://json-schema.org/draft/2020-12/schema"})
TAG = {ETAG: text('"3fb1c9d0a7e2465b"')}
KNOWN = {IF_NONE_MATCH: text('"3fb1c9d0a7e2465b"')}
UNCHANGED = AnswerShape(headers=TAG)


class Document(NamedTuple):
    """An answer as it is sent, and its version."""

    body: bytes
    version: str

    @classmethod
    def of(cls, data: Any) -> "Document":
        """Return the answer that shows `data`."""
        body = orjson.dumps(data)
        return cls(body, hashlib.sha256(body).hexdigest()[:16])

    def answer(self, request: web.Request) -> web.Response:
        """Return the answer, or 304 if the client has it."""
        tag = {ETAG: etag(self.version)}
        if Preconditions.of(request).knows(self.version):
            return web.Response(status=304, headers=head(tag))
        return web.Response(body=self.body, headers=head({**tag, hdrs.CONTENT_TYPE: CONTENT_TYPE}))


class SchemaRoutes(Routes):
    """What each event says, for readers of the log."""

    tag = "events"

    def __init__(self, types: EventTypes) -> None:
        self._list = Document.of(
            [
                {
                    "name": each.name,
                    "version": each.version,
                    "description": each.description,
                    "subject": each.subject,
                    "url": f"/events/schemas/{each.name}?version={each.version}",
                }
                for each in types.latest()
            ]
        )
        self._types = types
        self._schemas = {each: Document.of(each.schema()) for each in types.all()}

    @route(
        "GET",
        "/events/schemas",
        {200: AnswerShape(array(LISTED), headers=TAG), 304: UNCHANGED},
        headers=KNOWN,
    )
    async def list_schemas(self, request: web.Request) -> web.Response:
        """List the names of events, with the latest version of each."""
        return self._list.answer(request)

    @route(
        "GET",
        "/events/schemas/{name}",
        {200: AnswerShape(SCHEMA, headers=TAG), 304: UNCHANGED},
        EventTypeNotFound,
        query=SCHEMA_QUERY,
        parameters={"name": text("invoice.paid")},
        headers=KNOWN,
    )
    async def get_schema(self, request: web.Request) -> web.Response:
        """Get the JSON Schema of an event's payload, by default its latest version."""
        version = read_query(request, SCHEMA_QUERY)["version"]
        name = path_text(request, "name", longest=NAME_LENGTH)
        found = self._types.find(name, version)
        if found is None:
            raise EventTypeNotFound.of(name)
        return self._schemas[found].answer(request)
