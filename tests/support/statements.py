"""Statements by their names, and holding what they take and return to the stated nullability."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import asyncpg

from rowlock.engine.statements import Executor, Query, Type, queries


def find(name: str) -> Query:
    """The statement of that name, as feature/verb_noun."""
    query = queries.find(name)
    assert query is not None, name
    return query


@contextmanager
def watched() -> Iterator[list[str]]:
    """Within it, note each null that a header rules out: in arguments, and in rows read."""
    found: list[str] = []
    call = Query.__call__

    async def watch(query: Query, connection: Executor, **arguments: Any) -> list[asyncpg.Record]:
        for param in query.params:
            if param.name in arguments:
                found.extend(
                    _nulls(f"{query.name}: ${param.name}", param.type, arguments[param.name])
                )
        rows = await call(query, connection, **arguments)
        for column in query.columns:
            for row in rows:
                found.extend(_nulls(f"{query.name}: {column.name}", column.type, row[column.name]))
        return rows

    with patch.object(Query, "__call__", watch):
        yield found


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Within it, count the statements that run, by their names."""
    found: Counter[str] = Counter()
    call = Query.__call__

    async def count(query: Query, connection: Executor, **arguments: Any) -> list[asyncpg.Record]:
        found[query.name] += 1
        return await call(query, connection, **arguments)

    with patch.object(Query, "__call__", count):
        yield found


def _nulls(name: str, kind: Type, value: Any) -> Iterator[str]:
    if value is None:
        if not kind.nullable and kind.name != "void":  # whose only value asyncpg reads as None
            yield f"{name} is null"
    elif kind.name.endswith("[]") and not kind.holds_nulls and any(each is None for each in value):
        yield f"{name} holds a null"


def check(found: list[str]) -> None:
    """Fail if any was noted; forget it, so that only one test fails for it."""
    noted = list(dict.fromkeys(found))
    found.clear()
    assert not noted, f"the headers in sql/ rule this out: {noted}"
