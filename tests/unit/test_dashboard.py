"""The Grafana dashboard asks only for series that there are, and leaves none of them out."""

import re

import yaml

from rowlock.services import SERVICES
from rowlock.settings import Settings
from tests.support.monitoring import DOCKER, LABELS, PANELS, families
from tests.support.scraping import PROCESS

EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]


def asked_for() -> set[str]:
    return {name for text in EXPRESSIONS for name in re.findall(r"\b(?:rowlock|process)_\w+", text)}


def test_dashboard__each_series_asked_for__is_exported() -> None:
    assert asked_for() <= PROCESS.union(*families().values())


def test_dashboard__each_metric__is_shown() -> None:
    assert [name for name, series in families().items() if not series & asked_for()] == []


def test_dashboard__each_label_asked_for__exists() -> None:
    for expression in EXPRESSIONS:
        grouped = ",".join(re.findall(r"by \(([^)]*)\)", expression)).split(",")
        matched = re.findall(r"[{,]\s*(\w+)\s*=~?", expression)
        assert {label.strip() for label in grouped if label.strip()} | set(matched) <= LABELS


def test_dashboard__counters_and_histograms__as_rates() -> None:
    for expression in EXPRESSIONS:
        for name in re.findall(r"\b\w+(?:_total|_bucket|_sum|_count)\b", expression):
            assert f"rate({name}" in expression


def test_dashboard__panels__have_one_place_each_and_the_provisioned_source() -> None:
    source = yaml.safe_load(
        (DOCKER / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )
    [provisioned] = source["datasources"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in PANELS]
    assert len(set(places)) == len(places)
    for panel in PANELS:
        assert panel["datasource"]["uid"] == provisioned["uid"]


def test_prometheus__targets__are_the_services_and_their_ports() -> None:
    config = yaml.safe_load((DOCKER / "prometheus/prometheus.yml").read_text())
    [job] = config["scrape_configs"]
    expected = {f"{name}:{service.port(Settings())}" for name, service in SERVICES.items()}
    assert set(job["static_configs"][0]["targets"]) == expected


def test_load_testing__panels_and_series_it_names__are_there() -> None:
    page = (DOCKER.parent / "docs/load-testing.md").read_text(encoding="utf-8")
    watch = page.partition("- **The service's own figures.**")[2].partition("\n- ")[0]
    quoted = {" ".join(title.split()) for title in re.findall(r'"([^"]+)"', watch)}
    assert quoted
    assert quoted <= {panel["title"] for panel in PANELS}
    named = set(re.findall(r"`(rowlock_\w+)`", watch))
    assert named <= set(families()).union(*families().values())
