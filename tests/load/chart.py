"""The chart of a run: an SVG of bars, readable on a light and on a dark page."""

import statistics
from collections.abc import Iterator, Sequence
from html import escape

from background import Figure
from report import Outcome, Result, short

WIDTH = 900
MARGIN = 16
LINE = 20  # from one bar to the next
GAP = 18  # between rows
BAR = 12  # thickness
BARS_FROM, BARS_TO = 140, 560
NOTES_FROM = 650

# No background, and no colour near white or black: the page behind may be either.
OWN, OTHER, TEXT = "#2f81f7", "#8d96a0", "#7b838d"
REACHED, MISSED = "#2da44e", "#e5534b"

TIMES = "\N{MULTIPLICATION SIGN}"

STYLE = f"""
    text {{ font: 13px system-ui, sans-serif; fill: {TEXT}; }}
    .title {{ font-weight: 600; }}
    .end {{ text-anchor: end; }}
    .reached {{ fill: {REACHED}; }}
    .missed {{ fill: {MISSED}; }}"""


class Canvas:
    """Lines of SVG, from the top down."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.y = MARGIN

    def text(self, x: int, content: str, kind: str = "") -> None:
        kind = f' class="{kind}"' if kind else ""
        self._parts.append(f'<text x="{x}" y="{self.y}"{kind}>{escape(content)}</text>')

    def bar(self, share: float, colour: str) -> int:
        """Draw a bar of `share` of the longest; return where it ends."""
        width = max(1, round(share * (BARS_TO - BARS_FROM)))
        self._parts.append(
            f'<rect x="{BARS_FROM}" y="{self.y - BAR + 1}" width="{width}" height="{BAR}" '
            f'rx="2" fill="{colour}"/>'
        )
        return BARS_FROM + width

    def finish(self) -> str:
        height = self.y + MARGIN
        return "\n".join(
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
                f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Rowlock, measured">',
                f"<style>{STYLE}\n</style>",
                *self._parts,
                "</svg>\n",
            )
        )


def draw(outcome: Outcome) -> str:
    """Return the chart as SVG."""
    canvas = Canvas()
    for result in outcome.results:
        _draw_result(canvas, result)
    if outcome.figures:
        _draw_background(canvas, outcome.figures)
    machine = outcome.machine
    canvas.y += LINE
    canvas.text(
        MARGIN,
        f"{machine['cpu']}, {machine['cores']} cores shared by PostgreSQL {machine['postgresql']}, "
        f"server and load generator; Python {machine['python']}; fsync on",
    )
    return canvas.finish()


UNITS = {"per_s": "/s", "p50_ms": " ms", "cpu_us": " µs"}


def _draw_result(canvas: Canvas, result: Result) -> None:
    row = result.row
    # At a constant rate, what differs is the latency.
    quantity = row.quantity if row.compares else "p50_ms"
    more_is_better = quantity == "per_s"
    values = {side: result.median(side, quantity) or 0.0 for side in result.runs}
    canvas.y += GAP
    better = "" if more_is_better else " (less is better)"
    canvas.text(MARGIN, row.title + better, "title")
    for number, (side, value) in enumerate(values.items()):
        canvas.y += LINE
        canvas.text(BARS_FROM - 8, side, "end")
        end = canvas.bar(value / max(values.values()), OTHER if number else OWN)
        shown = f"{value:,.0f}" if more_is_better else f"{value:.2f}"
        canvas.text(end + 6, shown + UNITS[quantity])
        for content, kind in _note(result, side):
            canvas.text(NOTES_FROM, content, kind)
    canvas.y += GAP // 2


def _note(result: Result, side: str) -> Iterator[tuple[str, str]]:
    ratios = result.ratios().get(side)
    if ratios is None:
        return
    ratio = statistics.median(ratios)
    target = result.row.describe_goal(side)
    reached = result.row.is_reached(side, ratio)
    yield _verdict(f"{short(ratio)} {TIMES}", target, reached)


def _draw_background(canvas: Canvas, figures: Sequence[Figure]) -> None:
    canvas.y += GAP
    canvas.text(MARGIN, "In the background", "title")
    for figure in figures:
        canvas.y += LINE
        canvas.text(MARGIN, figure.title)
        canvas.text(BARS_TO, f"{short(figure.value)} {figure.unit}", "end")
        value = "" if figure.ratio is None else f"{short(figure.ratio)} {TIMES}"
        content, kind = _verdict(value, figure.target, figure.reached)
        canvas.text(NOTES_FROM, content, kind)
    canvas.y += GAP // 2


def _verdict(value: str, target: str, reached: bool | None) -> tuple[str, str]:
    """Return a text and its class."""
    if reached is None:
        return value, ""
    mark, kind = ("✓", "reached") if reached else ("✗", "missed")
    return f"{mark} {value} (aim: {target})".replace("  ", " "), kind
