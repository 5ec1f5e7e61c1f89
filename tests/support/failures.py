"""Requests that fail inside a service, which answers them with 500: by its log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

BROKEN_HTTP = (HttpProcessingError, web.RequestPayloadError)


@contextmanager
def watched(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Within it, only requests for the paths that are added to the list may fail, and must."""
    expected: list[str] = []
    with structlog.testing.capture_logs() as entries:
        yield expected
    assert [entry["path"] for entry in entries if entry["event"] == "request_failed"] == expected
    for record in caplog.get_records("call"):
        error = record.exc_info[1] if record.exc_info else None
        # aiohttp logs it as an error if what it gets is no HTTP, and answers 400.
        assert record.levelno < logging.ERROR or isinstance(error, BROKEN_HTTP), record
