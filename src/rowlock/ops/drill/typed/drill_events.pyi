# Made by `rowlock sql stubs` of the headers in src/rowlock/ops/drill/sql/drill_events/
# A test compares.

from typing import TypedDict

from rowlock.engine.statements import Executor, Statement

class CountEventsRow(TypedDict):
    name: str
    subject: str | None
    deployment_id: str | None
    events: int

class CountEvents(Statement):
    async def __call__(self, connection: Executor) -> list[CountEventsRow]: ...

class ListRequestIdsRow(TypedDict):
    request_id: str

class ListRequestIds(Statement):
    async def __call__(self, connection: Executor) -> list[ListRequestIdsRow]: ...

class DrillEvents:
    count_events: CountEvents
    list_request_ids: ListRequestIds
