"""A pooler in transaction mode, as PgBouncer is: a client has a session only for a transaction."""

import asyncio
import struct
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

REFUSED = {80877103, 80877104}  # requests for TLS and for GSSAPI
READY, TERMINATE = b"Z", b"X"
ANSWERED = {b"Q", b"S"}  # messages that are answered with READY


async def read_message(reader: StreamReader) -> tuple[bytes, bytes]:
    """The type of the next message, and all of it."""
    head = await reader.readexactly(5)
    (length,) = struct.unpack("!I", head[1:])
    return head[:1], head + await reader.readexactly(length - 4)


class Session:
    """A connection to the server, with what it said when it began."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.greeting = b""


class Pooler:
    """Lends the sessions of a server to its clients: those released last first, or in turn."""

    def __init__(self, url: str, *, in_turn: bool) -> None:
        self._next = 0 if in_turn else -1
        with psycopg.connect(url) as connection:
            info = connection.info
            self._socket = f"{info.host}/.s.PGSQL.{info.port}"
            self._startup = f"user\0{info.user}\0database\0{info.dbname}\0\0".encode()
            self._path = f"{info.user}@127.0.0.1", info.dbname
        self._idle: list[Session] = []
        self.url = ""

    @classmethod
    @contextmanager
    def before(cls, url: str, *, in_turn: bool) -> Iterator["Pooler"]:
        """Lend a pooler before the server of `url`; it runs in a thread."""
        pooler = cls(url, in_turn=in_turn)
        loop = asyncio.new_event_loop()
        stop, ready = asyncio.Event(), threading.Event()
        thread = threading.Thread(target=loop.run_until_complete, args=(pooler._run(stop, ready),))
        thread.start()
        ready.wait()
        try:
            yield pooler
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()

    async def _run(self, stop: asyncio.Event, ready: threading.Event) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        user, database = self._path
        port = server.sockets[0].getsockname()[1]
        self.url = f"postgresql://{user}:{port}/{database}"
        ready.set()
        await stop.wait()
        server.close()
        for session in self._idle:
            session.writer.close()

    async def _open(self) -> Session:
        session = Session(*await asyncio.open_unix_connection(self._socket))
        protocol = struct.pack("!I", 196608)
        session.writer.write(struct.pack("!I", 8 + len(self._startup)) + protocol + self._startup)
        kind = b""
        while kind != READY:
            kind, message = await read_message(session.reader)
            session.greeting += message
        return session

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (length,) = struct.unpack("!I", await reader.readexactly(4))
                body = await reader.readexactly(length - 4)
                if struct.unpack("!I", body[:4])[0] not in REFUSED:
                    break
                writer.write(b"N")
            session = self._idle.pop(self._next) if self._idle else await self._open()
            writer.write(session.greeting)
            self._idle.append(session)
            while await self._transaction(reader, writer):
                pass
        writer.close()

    async def _transaction(self, reader: StreamReader, writer: StreamWriter) -> bool:
        """Pass on a transaction in one session; return whether the client goes on."""
        kind, message = await read_message(reader)
        if kind == TERMINATE:
            return False
        session = self._idle.pop(self._next) if self._idle else await self._open()
        while True:
            session.writer.write(message)
            if kind in ANSWERED:
                answer = b""
                while answer != READY:
                    answer, message = await read_message(session.reader)
                    writer.write(message)
                if message[5:] == b"I":  # idle: the transaction is over
                    self._idle.append(session)
                    return True
            kind, message = await read_message(reader)
