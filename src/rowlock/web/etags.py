"""Entity tags (RFC 9110, section 8.8): the version of a row, in quotes. Always strong ones."""

import re

from aiohttp import web

ETAG = "ETag"


def etag(version: int) -> str:
    """Return the tag of a version."""
    return f'"{version}"'


def accepted_versions(request: web.Request) -> frozenset[int] | None:
    """Return the versions that If-Match accepts, or None if any will do.

    Tags that are weak, or not ours, accept nothing.
    """
    tags = _tags(request, "If-Match")
    if tags is None or "*" in tags:
        return None
    return frozenset(int(tag[1:-1]) for tag in tags if re.fullmatch(r'"[1-9][0-9]{0,18}"', tag))


def is_known(request: web.Request, tag: str) -> bool:
    """Tell whether If-None-Match says that the client has what `tag` is of."""
    tags = _tags(request, "If-None-Match") or set()
    return "*" in tags or tag in {known.removeprefix("W/") for known in tags}


def _tags(request: web.Request, header: str) -> set[str] | None:
    lines = request.headers.getall(header, None)
    # Commas within somebody else's tags make pieces that are no tags of ours either.
    return None if lines is None else {tag.strip() for tag in ",".join(lines).split(",")}
