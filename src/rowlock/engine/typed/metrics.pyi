# Made by `rowlock sql stubs` of the headers in sql/metrics/
# A test compares.

from typing import TypedDict

from rowlock.engine.statements import Executor, Statement

class MeasureCommerceRow(TypedDict):
    orders_pending: int
    outbox_events: int
    outbox_age_s: float
    dead_letters: int

class MeasureCommerce(Statement):
    async def __call__(self, connection: Executor, *, counted: int) -> list[MeasureCommerceRow]: ...

class Metrics:
    measure_commerce: MeasureCommerce
