"""The tables of a run, what it has missed, and what was only slow."""

from collections.abc import Iterator

from tests.ha.rounds import DIALLED, Result
from tests.ha.rowlocks import Rowlock

SHARE_S = 1.0
SILENT_SHARE_S = 3.0
PROXIED_SHARE_S = 2.0  # proxies find the primary by checks of their own
HEAD = """\
| the primary | Rowlock dials | no write for | of that, the cluster | Rowlock | acknowledged \
| lost | doubled | 500 |
|---|---|---|---|---|---|---|---|---|"""


def table(results: list[Result]) -> str:
    """Return the table, in Markdown."""
    lines = [
        f"| {result.fault.name} | {DIALLED[line.way]} | {line.gap_s:.1f} s "
        f"| {line.gap_s - line.share_s:.1f} s | {line.share_s:.1f} s | {line.acknowledged:,} "
        f"| {len(result.lost)} | {len(result.doubled)} | {line.errors} |"
        for result in results
        for line in result.lines
    ]
    return "\n".join([HEAD, *lines])


def summary(result: Result) -> str:
    """Return a round's result in a line or two, with all there is to find out more."""
    ways = ", ".join(
        f"{line.way}: gap {line.gap_s:.2f} s, ours {line.share_s:.2f} s, {dict(line.statuses)}"
        for line in result.lines
    )
    details = [*result.problems, *(f"doubled: {each}" for each in result.doubled)]
    problems = "".join(f"\n  {problem}" for problem in details)
    return (
        f"  a plain client wrote after {result.able_s:.2f} s, by HAProxy {result.proxied_s:.2f} s; "
        f"{ways}{problems}"
    )


def lists(served: list[Rowlock]) -> str:
    """Return where lists were read, in Markdown."""
    lines = [
        f"| {DIALLED[each.way]} | {each.read_from['standby']:,} | {each.read_from['primary']:,} |"
        for each in served
    ]
    return "\n".join(
        [
            "| Rowlock dials | lists read from a standby | from the primary |",
            "|---|---|---|",
            *lines,
        ]
    )


def missed(results: list[Result]) -> list[str]:
    """Return what must not happen, however busy the machine is."""
    return [problem for result in results for problem in _missed(result)]


def _missed(result: Result) -> Iterator[str]:
    name = result.fault.name
    if result.fault.is_synchronous:
        yield from (f"{name}: {problem}" for problem in result.problems)
        yield from (f"{name}: lost {each}" for each in result.lost)
        yield from (f"{name}: doubled {each}" for each in result.doubled)
    for line in result.lines:
        if line.errors:
            yield f"{name}, {DIALLED[line.way]}: {line.errors} answers of 500"


def slow(results: list[Result]) -> list[str]:
    """Return the first writes that came late. On a busy machine that means little."""
    return [
        f"{result.fault.name}, {DIALLED[line.way]}: first write {line.share_s:.2f} s after it "
        "could be taken"
        for result in results
        for line in result.lines
        if line.share_s > _allowed_s(result, line.way)
    ]


def _allowed_s(result: Result, way: str) -> float:
    if result.fault.is_silent:
        return SILENT_SHARE_S
    return SHARE_S if way == "hosts" else PROXIED_SHARE_S
