"""Request ids: the client's own or a new one; on answers, log lines, and events it causes."""

import random
import re

from aiohttp import web

REQUEST_ID = "X-Request-ID"
REQUEST_ID_KEY = web.RequestKey("request_id", str)
REQUEST_ID_LENGTH = 128
VALID_REQUEST_ID = re.compile(rf"[A-Za-z0-9._:/+=-]{{1,{REQUEST_ID_LENGTH}}}")


def new_request_id() -> str:
    """Return a random id."""
    return f"{random.getrandbits(64):016x}"
