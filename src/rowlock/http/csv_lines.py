"""Lines of CSV (RFC 4180), safe to open in a spreadsheet."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

CSV = "text/csv"
CONTENT_TYPE = "text/csv; charset=utf-8; header=present"

# A spreadsheet takes a text that begins like this for a formula, also behind blanks.
FORMULA = re.compile(r"\s*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")


def write_lines(rows: Iterable[Sequence[str | int]]) -> bytes:
    """Return a line for each row, in UTF-8. Numbers stay as they are.

    An apostrophe goes before a text that a spreadsheet would take for a formula.
    """
    lines = io.StringIO(newline="")
    writer = csv.writer(lines)
    writer.writerows([_guard(value) for value in row] for row in rows)
    return lines.getvalue().encode()


def _guard(value: str | int) -> str | int:
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value
