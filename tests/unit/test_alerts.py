"""The alerts ask only for series that there are, and send nobody to what there is not."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from rowlock.errors import Overloaded
from rowlock.ops.cli import app
from rowlock.process.worker import RESTARTS
from rowlock.settings import all_settings, variable_of
from tests.support.monitoring import LABELS, PANELS, families
from tests.support.scraping import PROCESS

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "docker/prometheus"
CONFIG = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
RULES = [
    rule
    for name in CONFIG["rule_files"]
    for group in yaml.safe_load((PROMETHEUS / name).read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
EXPRESSIONS = [rule["expr"] for rule in RULES]
TEXT = " ".join(alert["annotations"]["description"] for alert in ALERTS)


def test_alerts__each__says_what_is_wrong_how_bad_it_is_and_what_to_do() -> None:
    assert len({alert["alert"] for alert in ALERTS}) == len(ALERTS) > 0
    for alert in ALERTS:
        assert alert["annotations"].keys() == {"summary", "description"}
        assert alert["labels"]["severity"] in {"page", "ticket"}


def test_alerts__each_series_asked_for__is_exported() -> None:
    pattern = r"\b(?:rowlock|process)_\w+"
    asked_for = {name for text in EXPRESSIONS for name in re.findall(pattern, text)}
    assert asked_for
    of_workers = {f"{family.name}_total" for family in RESTARTS.collect()}
    assert asked_for <= PROCESS.union(of_workers, *families().values())


def test_alerts__each_recorded_series__is_asked_for_and_made() -> None:
    asked_for = {name for text in EXPRESSIONS for name in re.findall(r"\browlock:[\w:]+", text)}
    assert asked_for == {rule["record"] for rule in RULES if "record" in rule}


def test_alerts__each_label_asked_for__exists() -> None:
    matches = [match for text in EXPRESSIONS for match in re.findall(r'(\w+)!?=~?"(.*?)"', text)]
    by = {
        name
        for text in EXPRESSIONS
        for names in re.findall(r"by \((.*?)\)", text)
        for name in names.split(", ")
    }
    assert by | {name for name, _ in matches} <= LABELS
    jobs = {job["job_name"] for job in CONFIG["scrape_configs"]}
    assert {value for name, value in matches if name == "job"} == jobs
    assert {value for name, value in matches if name == "error"} == {Overloaded.code}


def commands_below(name: str, command: object) -> Iterator[str]:
    """The names of all commands of a group; of a command alone, its own."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name
        return
    for word, each in inner.items():
        yield from commands_below(f"{name} {word}", each)


def test_alerts__what_to_look_at__is_there() -> None:
    commands = set(commands_below("rowlock", get_command(app)))
    named = set(re.findall(r"\browlock (?:outbox |sql |subscriptions )?[a-z]+", TEXT))
    assert named
    assert named <= commands
    settings = {variable_of(setting) for setting in all_settings()}
    assert set(re.findall(r"ROWLOCK_\w+", TEXT)) <= settings
    headings = set(re.findall(r"\*\*(.*?)[.,]?\*\*", (ROOT / "docs/dba.md").read_text()))
    quoted = set(re.findall(r'"([^"]+)"', TEXT))
    assert quoted
    assert quoted <= {panel["title"] for panel in PANELS} | headings


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Prometheus")
@pytest.mark.parametrize("name", ["alerts.yml", "levels.yml"])
def test_alerts__series_made_up__fire_what_they_should(name: str) -> None:
    result = subprocess.run(
        ["promtool", "test", "rules", Path(__file__).with_name(name)],
        capture_output=True,
        check=False,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
