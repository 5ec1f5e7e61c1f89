"""The console's health: the doctor's findings, readiness, migrations, leases and settings."""

import pytest

from rowlock.console.examining import EXAMINE
from rowlock.engine.migrations import known
from rowlock.settings import Settings
from tests.support.console import KEY, Visitor, text_of
from tests.support.polling import until
from tests.support.statements import counted
from tests.support.types import Connection

KEY_OF_OURS = "00000000-0000-4000-8000-000000000007"
SILENT = "127.0.0.1:9"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Those of a console that asks a service which does not run."""
    return settings.changed(console_targets=[f"http://{SILENT}"])


async def test_health__databases__migrations_epochs_and_leases(
    operator: Visitor, connection: Connection
) -> None:
    await connection.execute(
        "INSERT INTO leases (name, holder, epoch, since, expires) VALUES "
        "('it', '<b>host:1', 3, now(), now() + interval '1 hour')"
    )
    page = await operator.page("/health")
    text = text_of(page)
    assert f"{len(known('main'))} applied, none missing" in text
    assert "<b>host:1" not in page
    assert "it active" in text
    assert "Not examined yet" in text


async def test_health__services_that_do_not_run__not_ready_and_why(operator: Visitor) -> None:
    page = text_of(await operator.page("/health"))
    assert SILENT in page
    assert "not ready" in page


async def test_health__its_statements__few(operator: Visitor) -> None:
    await operator.page("/health")
    with counted() as found:
        await operator.page("/health")
    assert found.total() == 9, found  # two of the rail


async def test_examine__run__findings_kept(
    operator: Visitor,
    database_url: str,
    events_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ROWLOCK_DATABASE_URL", database_url)
    monkeypatch.setenv("ROWLOCK_EVENTS_DATABASE_URL", events_database_url)
    key = KEY.search(await operator.page("/health"))
    assert key is not None
    page = await operator.follow(await operator.post("/health/examine", {"key": key[1]}))
    assert "The doctor is examining the installation." in page
    again = await operator.follow(await operator.post("/health/examine", {"key": KEY_OF_OURS}))
    assert "Another job of this kind is under way" in again

    async def is_over() -> bool:
        return "Examine now" in await operator.page("/health")

    await until(is_over, 120)
    page = text_of(await operator.page("/health"))
    assert "every user's ledger adds up to the balance" in page
    assert "asked for by console:ada" in page


async def test_examine__a_process_that_died__another_may_begin(
    operator: Visitor, connection: Connection
) -> None:
    await connection.execute(
        "INSERT INTO jobs (kind, wanted, actor, total, result, moved_at) VALUES "
        '($1, \'{}\', \'console:eve\', 0, \'{"findings": [], "checking": "money", "done": 1}\', '
        "now() - interval '2 minutes')",
        EXAMINE,
    )
    stop = KEY.search(await operator.page("/health"))
    assert stop is not None
    page = await operator.follow(await operator.post("/health/examine", {"key": stop[1]}))
    assert "The doctor is examining the installation." in page
    assert "The examination was stopped." in await operator.act_with(
        "/health", {}, to="/health/stop"
    )
    outcomes = await connection.fetch("SELECT outcome FROM jobs ORDER BY id")
    assert [row["outcome"] for row in outcomes] == ["failed", "stopped"]


async def test_settings__secrets__never_shown(
    operator: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROWLOCK_COMMERCE_TOKEN", "very-secret-token")
    monkeypatch.setenv("ROWLOCK_HOST", "<b>evil")
    page = await operator.page("/health/settings")
    assert "very-secret-token" not in page
    assert "<b>evil" not in page
    assert "(not shown)" in page
    assert "ROWLOCK_PAGES_REFRESH_S" in page
    assert "No setting matches" in await operator.page("/health/settings?name=nothing+such")
    assert "very-secret" not in await (await operator.get("/health/settings?format=csv")).text()
    await operator.page("/health/settings?other=1", status=400)


async def test_viewer__health__no_buttons_and_403(viewer: Visitor) -> None:
    assert "Examine now" not in await viewer.page("/health")
    for path in ("examine", "stop"):
        assert (await viewer.post(f"/health/{path}", {"key": KEY_OF_OURS})).status == 403
