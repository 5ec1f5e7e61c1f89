"""Bodies that many answers share: a client that doesn't read its answer holds no copy of it."""

from collections.abc import Sequence

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload


class SharedBody(Payload):
    """A body in parts, which go to the client's connection as they are.

    aiohttp would join a body of bytes with the head of each answer. Of a large body, each client
    that doesn't read would then hold a copy.
    """

    def __init__(self, parts: Sequence[bytes]) -> None:
        super().__init__(parts)
        self._parts = parts

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return sum(map(len, self._parts))

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return it as a text."""
        return b"".join(self._parts).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send it, no faster than the client reads."""
        writer.send_headers()
        for part in self._parts:
            await writer.write(part)
