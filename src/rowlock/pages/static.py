"""Static files: in memory, compressed once, and at addresses that change with their contents."""

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from aiohttp import hdrs, web

from rowlock.errors import NotFound
from rowlock.http.answers import head
from rowlock.http.shared import SharedBody
from rowlock.pages.declaring import Access, Pages, page

FOREVER = "public, max-age=31536000, immutable"
SUFFIXES = (".js", ".css", ".svg")
HASH_LENGTH = 12


class StaticFile(NamedTuple):
    """A file as it is sent."""

    address: str  # its path
    content_type: str
    body: bytes
    compressed: bytes  # by gzip


@cache
def load() -> Mapping[str, StaticFile]:
    """Return all static files, by their names."""
    folder = files("rowlock.pages").joinpath("static")
    found = {}
    for place in (folder, folder.joinpath("vendor")):
        for file in place.iterdir():
            if file.name.endswith(SUFFIXES):
                found[file.name] = _read(file.name, file.read_bytes())
    return found


def _read(name: str, body: bytes) -> StaticFile:
    stem, dot, suffix = name.rpartition(".")
    digest = hashlib.sha256(body).hexdigest()[:HASH_LENGTH]
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return StaticFile(
        f"/static/{stem}.{digest}{dot}{suffix}",
        f"{kind}; charset=utf-8",
        body,
        gzip.compress(body, 9, mtime=0),
    )


class StaticPages(Pages):
    """The static files."""

    def __init__(self) -> None:
        self._files = {file.address: file for file in load().values()}

    @page("GET", "/static/{name}", Access.OPEN)
    async def get_file(self, request: web.Request) -> web.Response:
        """Get a static file."""
        file = self._files.get(request.path)
        if file is None:
            raise NotFound
        headers = {
            "Content-Type": file.content_type,
            "Cache-Control": FOREVER,
            "Vary": hdrs.ACCEPT_ENCODING,
        }
        body = file.body
        if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            headers["Content-Encoding"] = "gzip"
            body = file.compressed
        return web.Response(body=SharedBody([body]), headers=head(headers))
