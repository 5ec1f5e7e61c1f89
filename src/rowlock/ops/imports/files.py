"""Reading a file row by row: CSV, a JSON array, or JSON values one after another.

A file is never in memory as a whole. Whatever is in it, a row is too long at `LONGEST_ROW`.
"""

import codecs
import csv
import io
import json
import os
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

from rowlock.errors import InvalidDataFile
from rowlock.http.fields import DECIMAL
from rowlock.ops.imports.problems import Problem

LONGEST_ROW = 2**20  # bytes of a line, characters of a JSON value
CHUNK = 2**18  # bytes
LOOK_S = 0.5  # between two looks for signals
STDIN = "-"
BLANKS = " \t\r\n"
EMPTY = "is empty: it must be an array of JSON objects, or JSON objects one after another"


class Format(StrEnum):
    """How a file is written."""

    JSON = "json"
    CSV = "csv"


SUFFIXES = {
    ".json": Format.JSON,
    ".jsonl": Format.JSON,
    ".ndjson": Format.JSON,
    ".csv": Format.CSV,
}


class Row(NamedTuple):
    """A row of a file, as yet unchecked."""

    ordinal: int  # from 1
    line: int  # where it begins, from 1
    values: dict[str, Any]  # what is absent, or null, is left out


Read: TypeAlias = Iterator[Row | Problem]


class Repeated:
    """Stands for a JSON object that has a name twice."""

    def __init__(self, name: str) -> None:
        self.name = name


class Unusable:
    """Stands for a number that JSON does not have, or that is too long to be converted."""


UNUSABLE = Unusable()


class Input:
    """A file that is read once, from its beginning to its end."""

    def __init__(self, file: BinaryIO, name: str, format_: Format) -> None:
        self._file = file
        self.name = name
        self.format = format_
        self.bytes_read = 0
        status = os.fstat(file.fileno())
        # None: a pipe, whose end is not known.
        self.size = status.st_size if stat.S_ISREG(status.st_mode) else None
        self._is_list = False

    def rows(self, columns: "Columns") -> Read:
        """Yield the rows, and what is wrong with any. What can't be read ends it.

        Raises InvalidDataFile if the file fails.
        """
        try:
            yield from self._read_csv(columns) if self.format is Format.CSV else self._read_json()
        except OSError as error:
            raise InvalidDataFile(f"{self.name} can't be read: {error.strerror}.") from None

    def where(self, ordinal: int, line: int) -> str:
        """Return where a row is: by its line, and in an array by its place there, too."""
        return f"item {ordinal} (line {line})" if self._is_list else f"line {line}"

    def problem(self, ordinal: int, line: int, text: str) -> Problem:
        """Return a problem that tells where it is."""
        return Problem(ordinal, f"{self.name}, {self.where(ordinal, line)}: {text}")

    # --- CSV -------------------------------------------------------------------------------------

    def _read_csv(self, columns: "Columns") -> Read:
        reader = csv.reader(self._lines(), strict=True)
        ordinal = 0
        try:
            cells = next(_with_lines(reader), None)
            header = None if cells is None else cells.texts
            problems = [*_header_problems(header, columns)]
            yield from (self.problem(0, 1, text) for text in problems)
            if header is None or problems:
                return
            whole = [name in columns.whole for name in header]
            for cells in _with_lines(reader):
                if not cells.texts:
                    continue  # an empty line
                ordinal += 1
                if len(cells.texts) != len(header):
                    text = f"has {len(cells.texts)} cells, and the header has {len(header)}"
                    yield self.problem(ordinal, cells.line, text)
                    continue
                values = {
                    name: int(text) if is_whole and DECIMAL.fullmatch(text) else text
                    for name, text, is_whole in zip(header, cells.texts, whole, strict=True)
                    if text
                }
                yield Row(ordinal, cells.line, values)
        except _Unreadable as error:
            yield self.problem(ordinal + 1, error.line, str(error))

    def _lines(self) -> Iterator[str]:
        number = 0
        while raw := self._file.readline(LONGEST_ROW + 1):
            number += 1
            self.bytes_read += len(raw)
            if len(raw) > LONGEST_ROW:
                raise _Unreadable(number, f"is longer than {LONGEST_ROW:,} bytes")
            if number == 1:
                raw = raw.removeprefix(codecs.BOM_UTF8)
            try:
                yield raw.decode()
            except UnicodeDecodeError:
                raise _Unreadable(number, "is not UTF-8") from None

    # --- JSON ------------------------------------------------------------------------------------

    def _read_json(self) -> Read:
        scanner = _Scanner(self._texts())
        ordinal = 0
        try:
            self._is_list = scanner.skip() == "["
            for line, value in scanner.items() if self._is_list else scanner.values():
                ordinal += 1
                if isinstance(value, Repeated):
                    yield self.problem(ordinal, line, f"{value.name!r} must not be given twice")
                elif isinstance(value, dict):
                    given = {name: each for name, each in value.items() if each is not None}
                    yield Row(ordinal, line, given)
                else:
                    yield self.problem(ordinal, line, "must be an object")
        except _Unreadable as error:
            yield Problem(ordinal + 1, f"{self.name}, line {error.line}: {error}")

    def _texts(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8-sig")()
        lines = 1
        while True:
            raw = self._file.read(CHUNK)
            self.bytes_read += len(raw)
            try:
                text = decoder.decode(raw, final=not raw)
            except UnicodeDecodeError as error:
                line = lines + error.object.count(b"\n", 0, error.start)
                raise _Unreadable(line, "is not UTF-8") from None
            lines += text.count("\n")
            if text:
                yield text
            if not raw:
                return


class Columns(NamedTuple):
    """The names of the fields that a file may have."""

    known: frozenset[str]
    required: frozenset[str]
    whole: frozenset[str]  # those that are numbers


@contextmanager
def opened(path: str, format_: Format | None) -> Iterator[Input]:
    """Open a file, or standard input for `-`. Raises InvalidDataFile."""
    if format_ is None:
        format_ = SUFFIXES.get(Path(path).suffix.lower())
        if format_ is None:
            what = "standard input" if path == STDIN else path
            raise InvalidDataFile(f"Say how {what} is written: --format json or --format csv.")
    if path == STDIN:
        file = io.FileIO(sys.stdin.fileno(), closefd=False)
        yield Input(_attentive(file), "standard input", format_)
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(io.FileIO(path))
        except OSError as error:
            raise InvalidDataFile(f"{path} can't be read: {error.strerror}.") from None
        yield Input(_attentive(file), path, format_)


def _attentive(file: io.FileIO) -> BinaryIO:
    return io.BufferedReader(_Attentive(file), CHUNK)


class _Attentive(io.RawIOBase):
    """A file that lets the handlers of signals run while a read waits.

    A signal just before a read does not interrupt it, and on a pipe the read may last for ever.
    """

    def __init__(self, file: io.FileIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def readinto(self, buffer: Any) -> int | None:
        while not select.select([self._file], [], [], LOOK_S)[0]:
            pass  # Python runs handlers of signals here
        return self._file.readinto(buffer)


class _Unreadable(Exception):
    """The file can't be read on."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class _Cells(NamedTuple):
    line: int
    texts: list[str]


def _with_lines(reader: Any) -> Iterator[_Cells]:
    """Yield the rows that follow, each with the line where it begins: a row may have several."""
    line = reader.line_num + 1
    try:
        for texts in reader:
            yield _Cells(line, texts)
            line = reader.line_num + 1
    except csv.Error as error:
        raise _Unreadable(line, f"is not valid CSV: {error}") from None


def _header_problems(header: list[str] | None, columns: Columns) -> Iterator[str]:
    if not header:
        yield "the names of the columns are missing"
        return
    for name in dict.fromkeys(header):
        if name not in columns.known:
            hint = "; cells are separated by commas" if ";" in name or "\t" in name else ""
            yield f"there is no column {name!r}{hint}"
        elif header.count(name) > 1:
            yield f"the column {name!r} must not be given twice"
    for name in sorted(columns.required.difference(header)):
        yield f"the column {name!r} is missing"


class _Scanner:
    """Takes JSON values from a text that comes in parts."""

    def __init__(self, parts: Iterator[str]) -> None:
        self._parts = parts
        self._text = ""
        self._at = 0
        self._line = 1  # of the text's beginning
        self._counted = 0  # newlines are, up to here
        self._decoder = json.JSONDecoder(
            object_pairs_hook=_object, parse_constant=_unusable, parse_int=_whole
        )

    @property
    def line(self) -> int:
        """The line of what comes next."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def skip(self) -> str:
        """Skip blanks; return the character that comes next, or nothing at the end."""
        while True:
            while self._at < len(self._text):
                mark = self._text[self._at]
                if mark not in BLANKS:
                    return mark
                self._at += 1
            if not self._read_on():
                return ""

    def values(self) -> Iterator[tuple[int, Any]]:
        """Yield all values, one after another, with their lines. Raises _Unreadable."""
        if not self.skip():
            raise _Unreadable(1, EMPTY)
        while self.skip():
            yield self.line, self._value()

    def items(self) -> Iterator[tuple[int, Any]]:
        """Yield the items of the array that comes next, with their lines. Raises _Unreadable."""
        self._at += 1
        mark = self.skip()
        while mark and mark != "]":
            yield self.line, self._value()
            mark = self.skip()
            if mark == ",":
                self._at += 1
                self.skip()
            elif mark != "]":
                break
        if mark != "]":
            missing = "a comma" if mark else "the end of the array"
            raise _Unreadable(self.line, f"is not valid JSON: {missing} is missing")
        self._at += 1
        if self.skip():
            raise _Unreadable(self.line, "is not valid JSON: there is something behind the array")

    def _value(self) -> Any:
        while True:
            try:
                found, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # It may only be that its end is not there yet.
                line = self._line_of(error.pos)
                if len(self._text) - self._at > LONGEST_ROW:
                    within = f" within {LONGEST_ROW:,} characters"
                elif self._read_on():
                    continue
                else:
                    within = ""
                text = f"is not valid JSON{within}: {error.msg.removesuffix(' at')}"
                raise _Unreadable(line, text) from None
            except RecursionError:
                raise _Unreadable(self.line, "is nested too deeply") from None
            else:
                self._at = end
                return found

    def _line_of(self, position: int) -> int:
        return self.line + self._text.count("\n", self._at, position)

    def _read_on(self) -> bool:
        part = next(self._parts, "")
        self._line = self.line
        self._text = self._text[self._at :] + part
        self._at = self._counted = 0
        return bool(part)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Repeated:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        return Repeated(next(name for name in names if names.count(name) > 1))
    return members


def _unusable(_: str) -> Unusable:
    return UNUSABLE


def _whole(digits: str) -> int | Unusable:
    return int(digits) if len(digits) <= len(str(-(2**63))) else UNUSABLE
