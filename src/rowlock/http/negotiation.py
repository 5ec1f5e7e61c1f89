"""Content negotiation: which media type a client would rather have (RFC 9110, section 12.5.1)."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from aiohttp import hdrs, web

from rowlock.http.openapi.shapes import JSON, PROBLEM

# Characters of Accept that are read; browsers send about 150. All of 32 KiB would take 50 ms.
LONGEST = 1024
QUALITY = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
ACCEPT_LINE = re.compile(rb"\nAccept:([^\r\n]*)", re.IGNORECASE)
OUR_PARAMETERS = frozenset({"charset=utf-8"})  # of every type that is offered


class Range(NamedTuple):
    """A range of media types in Accept, and how much the client likes it."""

    kind: str  # a media type, such as text/html; or text/*, or */*
    parameters: frozenset[str]
    quality: float

    def covers(self, offer: str) -> bool:
        """Tell whether the media type `offer` is in this range."""
        group = offer.partition("/")[0]
        return self.kind in {offer, f"{group}/*", "*/*"} and self.parameters <= OUR_PARAMETERS

    @property
    def precision(self) -> tuple[int, int]:
        """How exact the range is: the most exact one that covers a type decides."""
        return -self.kind.count("*"), len(self.parameters)


def preferred(request: web.Request, offers: Sequence[str]) -> str:
    """Return the media type among `offers` that the client likes best; of equals, the first.

    It is the first one, too, if the client takes none of them: an answer is more use than none.
    """
    ranges = [*_ranges(",".join(request.headers.getall(hdrs.ACCEPT, ["*/*"])))]
    return max(offers, key=lambda offer: _quality(offer, ranges))


def prefers_problem(accept: Sequence[str]) -> bool:
    """Tell whether a client that sent these lines of Accept would rather have errors as problems.

    It must name their media type: other clients get plain JSON. Of the two, liked as much, it gets
    problems: it could name them for no other reason.
    """
    lines = ",".join(accept)
    if PROBLEM not in lines.lower():  # as in most requests
        return False
    ranges = [*_ranges(lines)]
    problem = _quality(PROBLEM, ranges)
    return problem > 0 and problem >= _quality(JSON, ranges)


def accept_in(start: bytes) -> list[str]:
    """Return the lines of Accept in the beginning of a request that could not be parsed."""
    head = start[:LONGEST].partition(b"\r\n\r\n")[0]
    return [line.decode("latin-1") for line in ACCEPT_LINE.findall(head)]


def _quality(offer: str, ranges: Sequence[Range]) -> float:
    covering = [each for each in ranges if each.covers(offer)]
    return max(covering, key=lambda each: each.precision).quality if covering else 0.0


def _ranges(accept: str) -> Iterator[Range]:
    # Our types and parameters need no quotes, so pieces of a quoted text with commas match nothing.
    for text in accept[:LONGEST].lower().split(","):
        kind, *rest = (part.strip() for part in text.split(";"))
        names = [part.partition("=")[0] for part in rest]
        at = names.index("q") if "q" in names else len(rest)  # what follows it belongs to no type
        quality = rest[at].partition("=")[2] if at < len(rest) else "1"
        if QUALITY.fullmatch(quality):
            yield Range(kind, frozenset(filter(None, rest[:at])), float(quality))
