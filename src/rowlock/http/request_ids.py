"""Request ids: the client's own or a new one; on answers, log lines, and events it causes."""

import re
from random import getrandbits

from multidict import CIMultiDictProxy

REQUEST_ID = "X-Request-ID"
REQUEST_ID_LENGTH = 128
VALID_REQUEST_ID = re.compile(rf"[A-Za-z0-9._:/+=-]{{1,{REQUEST_ID_LENGTH}}}")


def request_id_of(headers: CIMultiDictProxy[str]) -> str:
    """Return the id that the client gives the request with these headers, or a new one."""
    if REQUEST_ID in headers and VALID_REQUEST_ID.fullmatch(headers[REQUEST_ID]):
        return headers[REQUEST_ID]
    return new_request_id()


def new_request_id() -> str:
    """Return a random id."""
    return getrandbits(64).to_bytes(8).hex()  # as f"{…:016x}" in half of the time
