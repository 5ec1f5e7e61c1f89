"""References: what clients call their documents, unique for each kind of document."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, Protocol

import asyncpg

from rowlock.engine.database import Connection
from rowlock.engine.faults import Conflict
from rowlock.rejections import ReferenceTaken


class _Row(Protocol):
    def __getitem__(self, key: Literal["reference"], /) -> str: ...


class _Find(Protocol):
    """A statement that tells which references documents of a kind have."""

    async def __call__(
        self, connection: Connection, *, wanted: Collection[str]
    ) -> Sequence[_Row]: ...


class _Command(Protocol):
    @property
    def reference(self) -> str | None: ...


class References:
    """The references that the commands of a batch may not use, as it stands after each one."""

    def __init__(self, taken: Collection[str] = ()) -> None:
        """Begin with those that documents have already."""
        self._taken = set(taken)

    def refusal(self, reference: str | None) -> ReferenceTaken | None:
        """Return why a new document can't have the reference, or None."""
        return ReferenceTaken(reference=reference) if reference in self._taken else None

    def take(self, reference: str | None) -> None:
        """Give the reference, if there is one, to a document."""
        if reference is not None:
            self._taken.add(reference)


async def find_references(
    connection: Connection, find: _Find, commands: Sequence[_Command]
) -> References:
    """Return those references of the commands that documents have; ask only if there are some."""
    wanted = {command.reference for command in commands if command.reference is not None}
    if not wanted:
        return References()
    return References([row["reference"] for row in await find(connection, wanted=wanted)])


@contextmanager
def each_reference_once(index: str) -> Iterator[None]:
    """Raise Conflict if another transaction has taken one of the references meanwhile.

    `index` is the unique one. The lane runs the batch again. Then the reference is found; or, if
    that transaction was the same request with the same Idempotency-Key, what was answered to it.
    """
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name != index:
            raise
        raise Conflict from error
