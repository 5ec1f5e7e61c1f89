"""The capacity model of docs/scaling.md: its derived columns are those of its formulas."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.documents import ROOT

CAPACITY = ROOT / "tests/load/capacity.py"
PAGE = ROOT / "docs/scaling.md"


def loaded() -> ModuleType:
    """The module of the formulas, which lies with the scripts."""
    spec = importlib.util.spec_from_file_location(
        "capacity_page", CAPACITY.with_name("capacity_page.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODEL = loaded()


def capacity(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, CAPACITY, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def changed(folder: Path, old: str, new: str) -> Path:
    """A copy of the page with one change."""
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    copy = folder / "scaling.md"
    copy.write_text(text.replace(old, new), encoding="utf-8")
    return copy


def test_page__derived_columns__are_those_of_the_formulas() -> None:
    run = capacity("--check", PAGE)
    assert run.returncode == 0, run.stdout + run.stderr


def test_check__another_assumption__names_the_lines_that_follow_from_it(tmp_path: Path) -> None:
    page = changed(tmp_path, "| cores of the primary | 64 |", "| cores of the primary | 2 |")
    run = capacity("--check", page)
    assert run.returncode == 1
    assert "limits: | POST /api/orders |" in run.stdout
    assert "the primary's cores" in run.stdout


def test_check__page_without_a_table__says_which(tmp_path: Path) -> None:
    run = capacity("--check", changed(tmp_path, "<!-- capacity: fit -->", ""))
    assert run.returncode == 1
    assert "fit" in run.stderr
    assert "Traceback" not in run.stderr


def test_check__cell_that_is_no_figure__says_which(tmp_path: Path) -> None:
    page = changed(tmp_path, "| cores of the primary | 64 |", "| cores of the primary | many |")
    run = capacity("--check", page)
    assert run.returncode == 1
    assert "many" in run.stderr
    assert "Traceback" not in run.stderr


def test_recalculate__other_assumptions__the_page_holds_again(tmp_path: Path) -> None:
    page = changed(tmp_path, "| cores of the primary | 64 |", "| cores of the primary | 128 |")
    before, after = limits(PAGE), None
    assert capacity("--recalculate", page).returncode == 0
    assert capacity("--check", page).returncode == 0
    after = limits(page)
    for request, cores in before.items():
        # Two digits are shown: twice as many, as far as these tell.
        assert after[request] == pytest.approx(2 * cores, rel=0.06), request


def limits(page: Path) -> dict[str, float]:
    """What the primary's cores carry, by the request."""
    column = MODEL.read(page.read_text(encoding="utf-8"), "limits").column("primary's cores")
    return {request: MODEL.number(cell) for request, cell in column.items()}


costs = st.floats(min_value=0, max_value=1e6)


@given(batch=costs, command=costs, commands=st.floats(min_value=1.5, max_value=512))
def test_fitted__costs_of_a_batch_and_of_each_command__found_again(
    batch: float, command: float, commands: float
) -> None:
    line = MODEL.fitted(batch + command, command + batch / commands, commands)
    assert line.batch == pytest.approx(batch, abs=0.01)
    assert line.command == pytest.approx(command, abs=0.01)


@given(alone=costs, together=costs, commands=st.floats(min_value=1, max_value=512))
def test_fitted__whatever_was_measured__the_cost_together_is_what_was_measured(
    alone: float, together: float, commands: float
) -> None:
    line = MODEL.fitted(alone, together, commands)
    assert line.batch >= 0
    assert line.command >= -1e-6  # rounding, of up to a million
    assert line.at(commands) == pytest.approx(together, abs=0.01)


@given(st.floats(min_value=0, max_value=1e12))
def test_shown__any_figure__read_again_as_nearly_the_same(value: float) -> None:
    assert MODEL.number(MODEL.shown(value)) == pytest.approx(value, rel=0.06, abs=0.005)
    assert MODEL.number(MODEL.rounded(value)) == pytest.approx(value, rel=0.06)
