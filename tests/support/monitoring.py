"""What is exported to Prometheus, and what the Grafana dashboard shows of it."""

import json
from pathlib import Path

from rowlock.engine.metrics import REGISTRY
from rowlock.http.metrics import STATE
from rowlock.services import SERVICES

DOCKER = Path(__file__).parents[2] / "docker"
DASHBOARD = json.loads((DOCKER / "grafana/dashboards/rowlock.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
LABELS = {
    "job",
    "service",
    "route",
    "method",
    "status",
    "error",
    "lane",
    "reason",
    "le",
    "task",
    "host",
    "outcome",
    "target",
    "consumer",
}


def families() -> dict[str, set[str]]:
    """The names of each metric's series."""
    assert SERVICES  # each of their parts has defined its metrics
    exported = {
        family.name: {family.name + suffix for suffix in SUFFIXES[family.type]}
        for family in REGISTRY.collect()
    }
    return exported | {name: {name} for name, _ in STATE.values()}
