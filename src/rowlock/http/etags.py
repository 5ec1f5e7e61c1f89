"""Entity tags (RFC 9110, section 8.8): the version of what is shown, in quotes. Always strong."""

from dataclasses import dataclass

from aiohttp import web

ETAG = "ETag"
IF_MATCH = "If-Match"
IF_NONE_MATCH = "If-None-Match"
ANY = "*"


def etag(version: str) -> str:
    """Return the tag of a version."""
    return f'"{version}"'


@dataclass(frozen=True, slots=True)
class Preconditions:
    """A request's conditions on the current version (RFC 9110, section 13.1).

    As a container, it holds the versions that a write may change.
    """

    wanted: frozenset[str] | None  # the tags in If-Match; None: no such header
    known: frozenset[str]  # the tags in If-None-Match

    @classmethod
    def of(cls, request: web.Request) -> "Preconditions":
        """Return the conditions of `request`."""
        return cls(_tags(request, IF_MATCH), _tags(request, IF_NONE_MATCH) or frozenset())

    def wants(self, version: str) -> bool:
        """Tell whether If-Match allows `version`. Weak tags never match."""
        return self.wanted is None or self.wanted == {ANY} or etag(version) in self.wanted

    def knows(self, version: str) -> bool:
        """Tell whether If-None-Match says that the client has `version`. Weak tags match, too."""
        tag = etag(version)
        return self.known == {ANY} or not self.known.isdisjoint({tag, f"W/{tag}"})

    def __contains__(self, version: object) -> bool:
        return isinstance(version, str) and self.wants(version) and not self.knows(version)


def _tags(request: web.Request, header: str) -> frozenset[str] | None:
    lines = request.headers.getall(header, None)
    # Our tags contain no commas, so pieces of a foreign tag with commas match none of ours.
    return None if lines is None else frozenset(tag.strip() for tag in ",".join(lines).split(","))
