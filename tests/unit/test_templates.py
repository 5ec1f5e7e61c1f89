"""The templates of all pages."""

from pathlib import Path

import pytest
from jinja2 import Environment

from rowlock.pages.templates import make_environment
from rowlock.settings import Settings


@pytest.fixture(scope="module")
def environment() -> Environment:
    return make_environment(Settings().money)


def test_templates__files_replaced_while_it_runs__as_they_were(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade puts the next release in place before this one ends."""
    monkeypatch.setattr(Path, "read_text", None)
    monkeypatch.setattr("builtins.open", None)
    assert environment.get_template("console/orders.html")


def test_templates__each__compiles(environment: Environment) -> None:
    names = environment.list_templates(extensions=("html",))
    assert {name.partition("/")[0] for name in names} == {"pages", "console", "shop"}
    for name in names:
        environment.get_template(name)
