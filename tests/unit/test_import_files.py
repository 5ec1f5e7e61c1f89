"""Reading files of rows: what each row is, where it begins, and what can't be read."""

import _thread
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowlock.errors import InvalidDataFile
from rowlock.ops.imports import files
from rowlock.ops.imports.files import Columns, Format, Input, Row, opened
from rowlock.ops.imports.problems import SHOWN, Problem, Problems

COLUMNS = Columns(frozenset({"name", "age", "note"}), frozenset({"name"}), frozenset({"age"}))

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
JSON_ROWS = st.lists(st.dictionaries(st.text(), JSON_VALUES, max_size=4), min_size=1, max_size=5)


def read(path: Path, content: bytes, format_: Format) -> list[Row | Problem]:
    path.write_bytes(content)
    with opened(str(path), format_) as file:
        return [*file.rows(COLUMNS)]


def test_pipe__signal_that_interrupts_no_read__handled(tmp_path: Path) -> None:
    """A signal just before the read. `interrupt_main` is the same: it tells Python alone."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    other_end = os.open(path, os.O_RDWR)
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
    late = threading.Timer(0.1, _thread.interrupt_main, [signal.SIGTERM])
    ended = threading.Timer(30, os.write, [other_end, b"name\n"])  # it must fail, not hang
    try:
        with opened(str(path), Format.CSV) as file:
            late.start()
            ended.start()
            with pytest.raises(SystemExit):
                next(file.rows(COLUMNS))
        assert ended.is_alive()
    finally:
        signal.signal(signal.SIGTERM, before)
        ended.cancel()
        os.close(other_end)


def told(found: Sequence[Row | Problem], path: Path) -> list[Any]:
    """Problems as the text behind the file's name, rows as their places and values."""
    return [
        each.text.removeprefix(f"{path}, ") if isinstance(each, Problem) else tuple(each)
        for each in found
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"name,age\nada,36\n", [(1, 2, {"name": "ada", "age": 36})]),
        (b"\xef\xbb\xbfname,age\r\nada,36\r\n\r\n", [(1, 2, {"name": "ada", "age": 36})]),
        (b"age,name\n,ada\n", [(1, 2, {"name": "ada"})]),
        (b'age,name\n"",ada\n', [(1, 2, {"name": "ada"})]),
        # What is no whole number stays a text: the field says what it must be.
        (b"age,name\n1.0,x\n", [(1, 2, {"age": "1.0", "name": "x"})]),
        (b"age,name\n 1,x\n", [(1, 2, {"age": " 1", "name": "x"})]),
        (b"age,name\n" + b"9" * 5000 + b",x\n", [(1, 2, {"age": "9" * 5000, "name": "x"})]),
        (b"name\n36\n", [(1, 2, {"name": "36"})]),
        # A row may have several lines: it is where it begins.
        (
            b'name,note\n"a\nb","c ""d"""\ne,f\n',
            [(1, 2, {"name": "a\nb", "note": 'c "d"'}), (2, 4, {"name": "e", "note": "f"})],
        ),
        (b"name\n\n\nada\n", [(1, 4, {"name": "ada"})]),
        (b"name\n", []),
        (b"", ["line 1: the names of the columns are missing"]),
        (b"\nname\n", ["line 1: the names of the columns are missing"]),
        (b"name,colour\nx,y\n", ["line 1: there is no column 'colour'"]),
        (b"name,name\nx,y\n", ["line 1: the column 'name' must not be given twice"]),
        (b"age\n1\n", ["line 1: the column 'name' is missing"]),
        (
            b"name;age\nx;1\n",
            [
                "line 1: there is no column 'name;age'; cells are separated by commas",
                "line 1: the column 'name' is missing",
            ],
        ),
        (
            b"name,age\nx\ny,1,2\nz,1\n",
            [
                "line 2: has 1 cells, and the header has 2",
                "line 3: has 3 cells, and the header has 2",
                (3, 4, {"name": "z", "age": 1}),
            ],
        ),
        (b"name\n\xff\n", ["line 2: is not UTF-8"]),
        ("name\nada\n".encode("utf-16"), ["line 1: is not UTF-8"]),
        (b'name\n"x', ["line 2: is not valid CSV: unexpected end of data"]),
        (b'name\nok\n"x"y\n', [(1, 2, {"name": "ok"}), "line 3: is not valid CSV: "]),
        (b"name\n" + b"x" * 2**21, [f"line 2: is longer than {2**20:,} bytes"]),
        (b'name\n"' + b"x\n" * 2**17, ["line 2: is not valid CSV: field larger than"]),
        (b"name\nx\0y\n", [(1, 2, {"name": "x\0y"})]),
    ],
)
def test_csv__content__rows_with_lines_and_problems(
    tmp_path: Path, content: bytes, expected: list[Any]
) -> None:
    path = tmp_path / "rows.csv"
    found = told(read(path, content, Format.CSV), path)
    assert len(found) == len(expected)
    for each, wanted in zip(found, expected, strict=True):
        assert each == wanted if isinstance(wanted, tuple) else each.startswith(wanted)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[]", []),
        (b" \n [ ] \n", []),
        (b'[{"name": "ada", "age": null}]', [(1, 1, {"name": "ada"})]),
        (b'\xef\xbb\xbf[\n{"a": 1},\n{"a":\n2}, {"a": 3}]', [
            (1, 2, {"a": 1}), (2, 3, {"a": 2}), (3, 4, {"a": 3}),
        ]),
        (b'{"a": 1}\n\n{"a": 2}', [(1, 1, {"a": 1}), (2, 3, {"a": 2})]),
        (b"", ["line 1: is empty"]),
        (b"  \n", ["line 1: is empty"]),
        (b"5", ["line 1: must be an object"]),
        (b'[{}, 5,\n"x"]', [
            (1, 1, {}), "item 2 (line 1): must be an object", "item 3 (line 2): must be an object",
        ]),
        (b'[{"a": 1, "b": 2, "a": 3}, {"c": 4}]', [
            "item 1 (line 1): 'a' must not be given twice", (2, 1, {"c": 4}),
        ]),
        (b'[{"a": 1}\n{"a": 2}]', [(1, 1, {"a": 1}), "line 2: is not valid JSON: a comma is"]),
        (b'[{"a": 1},]', [(1, 1, {"a": 1}), "line 1: is not valid JSON: "]),
        (b"[,]", ["line 1: is not valid JSON: "]),
        (b'[{"a": 1}', [(1, 1, {"a": 1}), "line 1: is not valid JSON: the end of the array is"]),
        (b'[{"a": 1},\n', [(1, 1, {"a": 1}), "line 2: is not valid JSON: "]),
        (b'[{"a": 1}]\n\nx', [(1, 1, {"a": 1}), "line 3: is not valid JSON: there is something"]),
        (b'[{"a": 1},\n\n{"a": x\n\n', [(1, 1, {"a": 1}), "line 3: is not valid JSON: Expecting"]),
        (b'[\n{"a":\n\n"x', ["line 4: is not valid JSON: Unterminated string"]),
        (b'[{"a": "x\ty"}]', ["line 1: is not valid JSON: Invalid control character"]),
        (b"{'a': 1}", ["line 1: is not valid JSON: "]),
        (b'[\n"\xff"]', ["line 2: is not UTF-8"]),
        ('[{"a": "é"}]'.encode("latin-1"), ["line 1: is not UTF-8"]),
        (b'{"a": "' + b"x" * 2**21, [f"line 1: is not valid JSON within {2**20:,} characters"]),
        (b"[" * 100_000, ["line 1: is nested too deeply"]),
    ],
)  # fmt: skip
def test_json__content__rows_with_lines_and_problems(
    tmp_path: Path, content: bytes, expected: list[Any]
) -> None:
    path = tmp_path / "rows.json"
    found = told(read(path, content, Format.JSON), path)
    assert len(found) == len(expected)
    for each, wanted in zip(found, expected, strict=True):
        assert each == wanted if isinstance(wanted, tuple) else each.startswith(wanted)


@pytest.mark.parametrize("number", ["9" * 30, "-" + "9" * 5000, "NaN", "Infinity", "-Infinity"])
def test_json__number_that_no_field_takes__is_not_converted(tmp_path: Path, number: str) -> None:
    [row] = read(tmp_path / "rows.json", f'{{"a": {number}}}'.encode(), Format.JSON)
    assert isinstance(row, Row)
    assert row.values == {"a": files.UNUSABLE}


@settings(max_examples=200, deadline=None)
@given(
    rows=JSON_ROWS,
    is_list=st.booleans(),
    indent=st.none() | st.integers(0, 2),
    is_ascii=st.booleans(),
    chunk=st.integers(1, 20),
)
def test_json__in_chunks_of_any_size__rows_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[dict[str, Any]],
    is_list: bool,
    indent: int | None,
    is_ascii: bool,
    chunk: int,
) -> None:
    texts = [json.dumps(row, indent=indent, ensure_ascii=is_ascii) for row in rows]
    text = f"[\n{','.join(texts)}\n]" if is_list else "\n".join(texts)
    content = text.encode("utf-8", "surrogatepass")
    path = tmp_path_factory.mktemp("json") / "rows.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK", chunk)
        found = read(path, content, Format.JSON)
    expected = [
        {name: value for name, value in json.loads(each).items() if value is not None}
        for each in texts
    ]
    assert [each.values if isinstance(each, Row) else each for each in found] == expected
    at = 0
    for row, each in zip(found, texts, strict=True):
        assert isinstance(row, Row)
        at = text.index(each, at)
        assert row.line == text.count("\n", 0, at) + 1
        at += len(each)


def test_opened__name_does_not_tell_the_format__says_what_to_do(tmp_path: Path) -> None:
    for name in ("rows", "-", "rows.txt"):
        with (
            pytest.raises(InvalidDataFile, match="--format json or --format csv"),
            opened(name, None),
        ):
            pass
    for name in ("rows.JSON", "rows.jsonl", "rows.ndjson", "rows.csv"):
        (tmp_path / name).touch()
        with opened(str(tmp_path / name), None) as file:
            assert (file.format is Format.CSV) == name.endswith("csv")


@pytest.mark.parametrize("name", ["missing.csv", "."])
def test_opened__can_not_be_read__says_why(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with (
        pytest.raises(InvalidDataFile, match=f"^{path} can't be read: "),
        opened(str(path), Format.CSV),
    ):
        pass


def test_size__of_a_pipe__is_not_known() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"name\nada\n")
    os.close(writing)
    with open(reading, "rb") as pipe:
        file = Input(pipe, "pipe", Format.CSV)
        assert file.size is None
        assert [*file.rows(COLUMNS)] == [Row(1, 2, {"name": "ada"})]
    assert file.bytes_read == 9


@pytest.mark.parametrize(("total", "more"), [(1, 0), (SHOWN, 0), (SHOWN + 1, 1), (5000, 4980)])
def test_problems__many__first_ones_in_the_order_of_the_file(total: int, more: int) -> None:
    problems = Problems("f")
    problems.add(Problem(ordinal, f"{ordinal}") for ordinal in range(total, 0, -2))
    problems.add([Problem(ordinal, f"{ordinal}") for ordinal in range(total - 1, 0, -2)])
    with pytest.raises(InvalidDataFile) as error:
        problems.check()
    headline, *lines = str(error.value).splitlines()
    assert headline.startswith("nothing was changed: f has ")
    rest = [f"and {more:,} more."] if more else []
    assert lines == [*(str(ordinal) for ordinal in range(1, min(total, SHOWN) + 1)), *rest]
    Problems("f").check()
