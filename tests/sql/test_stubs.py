"""The stubs that mypy reads against the headers of sql/, and against what asyncpg returns."""

from importlib import import_module
from pathlib import Path

import pytest

from rowlock.engine import statements, top
from rowlock.errors import StartRefused
from rowlock.ops import stubs
from rowlock.ops.drill import statements as drill
from rowlock.ops.imports import statements as imports
from tests.support.databases import rolled_back

MODULES = (statements, drill, imports, top)
FOLDERS = [Path(str(module.__file__)).with_name("typed") for module in MODULES]
VALUES = {
    "bigint": "1",
    "integer": "1",
    "smallint": "1",
    "xid8": "1",
    "float8": "1",
    "numeric": "1",
    "boolean": "true",
    "text": "x",
    "jsonb": "{}",
    "bytea": "x",
    "uuid": "00000000-0000-0000-0000-000000000001",
    "date": "2026-11-21",
    "timestamptz": "2026-11-21",
    "interval": "1 s",
    "void": "",
}


def test_stubs__on_disk__are_those_of_the_headers() -> None:
    rendered = dict(stubs.render_all())
    on_disk = {path for folder in FOLDERS for path in folder.iterdir() if path.suffix == ".pyi"}
    assert on_disk == set(rendered), "run: rowlock sql stubs"
    for path, text in rendered.items():
        assert path.read_text(encoding="utf-8") == text, "run: rowlock sql stubs"


def test_stubs__in_an_installed_package__are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stubs, "packaged_folder", lambda name: tmp_path / "files" / name)
    monkeypatch.setattr(stubs, "render_all", lambda: [(tmp_path / "typed" / "x.pyi", "")])
    with pytest.raises(StartRefused, match="nothing to write to"):
        stubs.write_all()
    assert not [*tmp_path.iterdir()]


def test_stubs__every_statement__is_an_attribute_of_its_folder() -> None:
    texts = dict(stubs.render_all())
    registries = (statements.queries, drill.queries, imports.statements, top.statements)
    for folder, registry in zip(FOLDERS, registries, strict=True):
        for query in registry:
            feature, _, name = query.name.partition("/")
            assert f"\n    {name}: " in texts[folder / f"{feature}.pyi"], query.name
            assert f"\n    {feature}: " in texts[folder / "__init__.pyi"], query.name


@pytest.mark.parametrize(("name", "python"), stubs.PYTHON.items())
async def test_type__of_postgresql__is_read_as_the_stubs_say(
    shared_database_url: str, name: str, python: str
) -> None:
    async with rolled_back(shared_database_url) as connection:
        value = await connection.fetchval(f"SELECT '{VALUES[name]}'::{name}")
    expected = getattr(import_module(stubs.IMPORTS.get(python, "builtins")), python)
    assert isinstance(value, expected)
    assert isinstance(value, bool) == (name == "boolean")
