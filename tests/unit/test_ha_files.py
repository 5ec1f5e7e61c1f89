"""The files of docker/ha against each other and against Rowlock; `make ha` runs with them."""

import re
from pathlib import Path

import pytest
import yaml

from rowlock.settings.names import ServiceName
from tests.ha.files import SOURCE, Files, assignments
from tests.support.environments import settings_from

VALUES = assignments((SOURCE / "cluster.env").read_text())
FILLED_IN = sorted(
    path.name
    for path in SOURCE.iterdir()
    if path.name != "cluster.env" and not path.name.startswith("requirements")
)
PRODUCTION = {
    "ROWLOCK_ENV": "production",
    "ROWLOCK_COMMERCE_TOKEN": "commerce-token-1",
    "ROWLOCK_EVENTS_TOKEN": "events-token-123",
    "ROWLOCK_EVENTS_URL": "https://events.example.com",
}


def filled_in(name: str) -> str:
    return Files(Path(), VALUES).text(name)


def test_cluster_env__variables__are_those_that_the_files_and_the_page_ask_for() -> None:
    texts = [(SOURCE / name).read_text() for name in FILLED_IN]
    page = (SOURCE.parents[1] / "docs/high-availability.md").read_text()
    asked_for = set(re.findall(r"\$\{(\w+)\}", "".join(texts)))
    assert asked_for <= VALUES.keys()
    assert asked_for | set(re.findall(r"\$(\w+)", page)) >= VALUES.keys()


@pytest.mark.parametrize("name", FILLED_IN)
def test_file__filled_in__has_nothing_left_to_fill_in(name: str) -> None:
    assert "${" not in filled_in(name)


def test_patroni__times__leave_room_for_a_slow_etcd() -> None:
    dynamic = yaml.safe_load(filled_in("patroni.yml"))["bootstrap"]["dcs"]
    assert dynamic["ttl"] >= dynamic["loop_wait"] + 2 * dynamic["retry_timeout"]
    assert dynamic["synchronous_mode"] == "quorum"


def test_rowlock_env__in_production__starts() -> None:
    own = assignments(filled_in("rowlock.env"))
    settings = settings_from(PRODUCTION | own, [ServiceName.COMMERCE])
    urls = [settings.database.database_url, *settings.database.read_urls.values()]
    assert [str(url).count(":5432") for url in urls] == [3, 3, 3]


def test_requirements__each__is_pinned_with_its_hashes() -> None:
    text = (SOURCE / "requirements.txt").read_text()
    entries = re.findall(r"^[\w.-]+(?:\[\w+\])?==.*(?:\n .*)*", text, re.MULTILINE)
    assert any(entry.startswith("patroni==4.") for entry in entries)
    assert all("--hash=sha256:" in entry for entry in entries)
