"""Logging by structlog: readable lines in development, JSON in production.

A thread of its own writes the lines, so that a reader that does not read never blocks the service.
"""

import atexit
import logging
import os
import re
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

import orjson
import structlog

from rowlock.origin import REQUEST
from rowlock.settings import Settings

FLUSH_S = 0.5  # at exit, for the lines that still wait
WRITE_BYTES = 65_536  # about so much is written at a time
MOST_WARNINGS = 1000  # kinds of warnings that are told apart
# What differs between two lines that say the same.
INCIDENTAL = frozenset({"delivery_id", "items", "request_id", "retry_s", "service"})
INCIDENTAL |= {"trace_id", "span_id", "parent_span_id"}
QUOTING = frozenset({"error", "problem"})  # they may quote addresses and process ids

LOSSES: list[Callable[[int], object]] = []  # each is called with the number of lines just lost


class Writer:
    """Writes lines to a file descriptor, by a thread; `write` never blocks.

    Once `most_bytes` wait, lines are dropped. Each function in LOSSES is called at once with their
    number. `describe` makes a line of it, which is written once lines flow again.
    """

    def __init__(self, fd: int, most_bytes: int, describe: Callable[[int], bytes]) -> None:
        self._fd = fd
        self._most_bytes = most_bytes
        self._describe = describe
        self._lines: deque[bytes] = deque()
        self._bytes = 0  # in `_lines`
        self._untold = 0  # lines dropped that no line has reported
        self._busy = False
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="log", daemon=True).start()
        atexit.register(self.drain)

    def write(self, text: str | bytes) -> None:
        """Let `text`, one line or several, be written; or drop it if too much waits already."""
        line = text if isinstance(text, bytes) else text.encode(errors="backslashreplace")
        with self._changed:
            fits = self._bytes + len(line) <= self._most_bytes
            if fits:
                self._lines.append(line)
                self._bytes += len(line)
                if not self._busy:
                    self._changed.notify_all()
        if not fits:
            self._drop(1)

    def flush(self) -> None:
        """Do nothing: the thread writes as soon as it can."""

    def drain(self) -> None:
        """Return once everything is written, or after FLUSH_S."""
        with self._changed:
            self._changed.wait_for(lambda: not self._lines and not self._busy, FLUSH_S)

    def _drop(self, lines: int) -> None:
        with self._changed:
            self._untold += lines
        for count in LOSSES:
            count(lines)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                if not self._lines:
                    self._changed.notify_all()
                self._changed.wait_for(lambda: self._lines)
                self._busy = True
                lines, size = [], 0
                while self._lines and size < WRITE_BYTES:
                    lines.append(self._lines.popleft())
                    size += len(lines[-1])
                self._bytes -= size
                # Those dropped came after all that waited.
                untold = 0 if self._lines else self._untold
                self._untold -= untold
            try:
                self._write_all(b"".join(lines))
                if untold:
                    self._write_all(self._describe(untold))
            except OSError:  # full disk, broken pipe, closed file
                with self._changed:
                    self._untold += untold
                self._drop(len(lines))

    def _write_all(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # another program has made it non-blocking
                select.select([], [self._fd], [])


class Repetitions:
    """Lets the first of equal warnings through, then one in `every_s`, with a count.

    A processor of structlog. `repeated` is how many warnings before it, equal to it, were left out.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._seen: dict[object, tuple[float, int]] = {}  # when it was let through, then left out

    def __call__(
        self, _: Any, method: str, entry: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Return `entry`, or raise DropEvent if it is left out."""
        if method != "warning":
            return entry
        key = frozenset(
            (name, re.sub(r"\d+", "0", str(value)) if name in QUOTING else str(value))
            for name, value in entry.items()
            if name not in INCIDENTAL
        )
        now = time.monotonic()
        since, left_out = self._seen.get(key, (now - self._every_s, 0))
        if now - since < self._every_s:
            self._seen[key] = since, left_out + 1
            raise structlog.DropEvent
        if len(self._seen) >= MOST_WARNINGS:
            self._seen.clear()
        self._seen[key] = now, 0
        if left_out:
            entry["repeated"] = left_out
        return entry


def add_request(_: Any, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Say which service writes the line, and for which request, if it is for one.

    A processor of structlog. Most requests write no line, so they don't prepare for one either.
    """
    request = REQUEST.get(None)
    if request is None:
        return entry
    service, request_id, trace = request
    if trace is None:
        return {"service": service, "request_id": request_id, **entry}
    return {
        "service": service,
        "request_id": request_id,
        "trace_id": trace.trace_id,
        "span_id": trace.span_id,
        "parent_span_id": trace.parent_id,
        **entry,
    }


CONTEXT: list[Any] = [structlog.contextvars.merge_contextvars, add_request]


def configure(settings: Settings) -> None:
    """Configure structlog for this process. Lines go to standard error."""
    level = getattr(logging, settings.logs.log_level.upper())
    common: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any
    if settings.env == "production":
        common.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer(serializer=orjson.dumps, default=str)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )

    def describe(dropped: int) -> bytes:
        entry: Any = {"event": "log_lines_dropped", "lines": dropped}
        for processor in [*common, renderer]:
            entry = processor(None, "warning", entry)
        return (entry if isinstance(entry, bytes) else entry.encode()) + b"\n"

    # structlog annotates a whole file, but only writes and flushes.
    sink: Any = Writer(sys.stderr.fileno(), settings.logs.log_buffer_bytes, describe)
    repetitions = Repetitions(settings.logs.log_repeat_s)
    in_bytes = settings.env == "production"
    factory = structlog.BytesLoggerFactory if in_bytes else structlog.WriteLoggerFactory
    structlog.configure(
        processors=[*CONTEXT, repetitions, *common, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=factory(sink),
        cache_logger_on_first_use=True,
    )
    _route_libraries([*CONTEXT, *common], renderer, sink)


def _route_libraries(processors: Iterable[Any], renderer: Any, sink: Any) -> None:
    """Format the log lines of libraries like our own."""

    def as_text(*arguments: Any) -> str:
        line = renderer(*arguments)
        return line.decode() if isinstance(line, bytes) else line

    handler = logging.StreamHandler(sink)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, as_text],
            foreign_pre_chain=list(processors),
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
