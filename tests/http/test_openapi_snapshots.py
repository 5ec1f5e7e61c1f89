"""The OpenAPI documents as they are in docs/openapi: a change of the API is a change of a file."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rowlock.http.openapi.routes import DOCUMENTS
from rowlock.ops import cli
from rowlock.services import SERVICES
from rowlock.settings import Settings
from rowlock.settings.names import ServiceName
from tests.support.roles import create_app

SNAPSHOTS = Path(__file__).parents[2] / "docs/openapi"


@pytest.fixture(params=SERVICES)
def name(request: pytest.FixtureRequest) -> str:
    """The name of a service."""
    return str(request.param)


@pytest.fixture
def printed(name: ServiceName) -> str:
    """What `rowlock openapi` prints for it."""
    result = CliRunner().invoke(cli.app, ["openapi", name])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_snapshot__default_settings__is_what_the_command_prints(
    name: ServiceName, printed: str
) -> None:
    snapshot = (SNAPSHOTS / f"{name}.json").read_text()
    refresh = f"If you meant this change: rowlock openapi {name} > docs/openapi/{name}.json"
    assert printed == snapshot, refresh


def test_command__each_service__prints_the_document_that_it_serves(
    name: ServiceName, printed: str
) -> None:
    app = create_app(SERVICES[name], Settings(), "postgresql://")
    # With the order of everything: a parsed document has no other.
    assert json.dumps(json.loads(printed)) == json.dumps(app[DOCUMENTS].openapi)


def test_command__settings_in_the_environment__make_no_difference(
    monkeypatch: pytest.MonkeyPatch, name: str, printed: str
) -> None:
    monkeypatch.setenv("ROWLOCK_COMMERCE_TOKEN", "secret")
    assert CliRunner().invoke(cli.app, ["openapi", name]).stdout == printed


def test_snapshots__each__is_of_a_service() -> None:
    assert {path.name for path in SNAPSHOTS.iterdir()} == {f"{name}.json" for name in SERVICES}
