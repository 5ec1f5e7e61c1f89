"""Logging by structlog: readable lines in development, JSON in production."""

import logging
import sys
from contextlib import suppress
from typing import Any

import orjson
import structlog

from rowlock.settings import Settings


class _Sink:
    """A file whose write errors are ignored: a request must not fail over its log line."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, text: Any) -> None:
        with suppress(OSError, ValueError):  # full disk, broken pipe, closed file
            self._file.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._file.flush()


def configure(settings: Settings) -> None:
    """Configure structlog for this process. Lines go to standard error."""
    level = getattr(logging, settings.logs.log_level.upper())
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    sink: Any  # structlog annotates a whole file, but only writes and flushes
    factory: Any
    if settings.env == "production":
        processors.append(structlog.processors.format_exc_info)
        renderer: Any = structlog.processors.JSONRenderer(serializer=orjson.dumps, default=str)
        sink = _Sink(sys.stderr.buffer)
        factory = structlog.BytesLoggerFactory(sink)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        sink = _Sink(sys.stderr)
        factory = structlog.PrintLoggerFactory(sink)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    _route_libraries(processors, renderer)


def _route_libraries(processors: list[Any], renderer: Any) -> None:
    """Format the log lines of libraries like our own."""

    def as_text(*arguments: Any) -> str:
        line = renderer(*arguments)
        return line.decode() if isinstance(line, bytes) else line

    handler = logging.StreamHandler(_Sink(sys.stderr))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, as_text],
            foreign_pre_chain=processors,
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
