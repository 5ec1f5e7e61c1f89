"""The templates of all pages."""

import pytest
from jinja2 import Environment

from rowlock.pages.templates import make_environment
from rowlock.settings import Settings


@pytest.fixture(scope="module")
def environment() -> Environment:
    return make_environment(Settings().money)


def test_templates__each__compiles(environment: Environment) -> None:
    names = environment.list_templates(extensions=("html",))
    assert {name.partition("/")[0] for name in names} == {"pages", "console", "shop"}
    for name in names:
        environment.get_template(name)
