"""The alerts ask only for series that there are, and send nobody to what there is not."""

import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from rowlock.cli import app
from rowlock.errors import Overloaded
from rowlock.settings import Settings
from rowlock.process.workers import RESTARTS
from tests.scraping import PROCESS
from tests.unit.test_dashboard import LABELS, PANELS, families

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "docker/prometheus"
CONFIG = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
ALERTS = [
    alert
    for name in CONFIG["rule_files"]
    for group in yaml.safe_load((PROMETHEUS / name).read_text())["groups"]
    for alert in group["rules"]
]
EXPRESSIONS = [alert["expr"] for alert in ALERTS]
TEXT = " ".join(alert["annotations"]["description"] for alert in ALERTS)


def test_alerts__each__says_what_is_wrong_how_bad_it_is_and_what_to_do():
    assert len({alert["alert"] for alert in ALERTS}) == len(ALERTS) > 0
    for alert in ALERTS:
        assert alert["annotations"].keys() == {"summary", "description"}
        assert alert["labels"]["severity"] in {"page", "ticket"}


def test_alerts__each_series_asked_for__is_exported():
    pattern = r"\b(?:rowlock|process)_\w+"
    asked_for = {name for text in EXPRESSIONS for name in re.findall(pattern, text)}
    assert asked_for
    of_workers = {f"{family.name}_total" for family in RESTARTS.collect()}
    assert asked_for <= PROCESS.union(of_workers, *families().values())


def test_alerts__each_label_asked_for__exists():
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


def test_alerts__what_to_look_at__is_there():
    commands = {
        f"rowlock {group.name} {command.name or command.callback.__name__}"
        for group in app.registered_groups
        for command in group.typer_instance.registered_commands
    } | {
        f"rowlock {command.name or command.callback.__name__}"
        for command in app.registered_commands
    }
    named = set(re.findall(r"\browlock (?:outbox |sql )?[a-z]+", TEXT))
    assert named
    assert named <= commands
    settings = {f"ROWLOCK_{field.name.upper()}" for field in fields(Settings)}
    assert set(re.findall(r"ROWLOCK_\w+", TEXT)) <= settings
    headings = set(re.findall(r"\*\*(.*?)[.,]?\*\*", (ROOT / "sql/README.md").read_text()))
    quoted = set(re.findall(r'"([^"]+)"', TEXT))
    assert quoted
    assert quoted <= {panel["title"] for panel in PANELS} | headings


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Prometheus")
def test_alerts__series_made_up__fire_what_they_should():
    result = subprocess.run(
        ["promtool", "test", "rules", Path(__file__).with_name("alerts.yml")],
        capture_output=True,
        check=False,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
