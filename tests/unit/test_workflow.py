"""The workflow of continuous integration: valid, and made of targets that exist."""

import re

import yaml

from tests.support.documents import ROOT

WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
JOBS = WORKFLOW["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]


def test_workflow__triggers__pushes_to_main_and_pull_requests() -> None:
    triggers = WORKFLOW[True]  # YAML 1.1 reads `on` as true
    assert triggers == {"push": {"branches": ["main"]}, "pull_request": None}


def test_workflow__each_step__an_action_with_a_version_or_a_command() -> None:
    for step in STEPS:
        assert ("uses" in step) != ("run" in step), step
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"])


def test_workflow__targets_of_make__exist() -> None:
    named = {name for step in STEPS for name in re.findall(r"make ([\w-]+)", step.get("run", ""))}
    assert named == {"check", "test", "test-browser"}
    assert named <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_workflow__matrix__each_supported_postgresql_with_each_python() -> None:
    matrix = JOBS["test"]["strategy"]["matrix"]
    assert matrix["postgres"] == ["15", "16", "17", "18"]
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert "${{ matrix.postgres }}" in JOBS["test"]["services"]["postgres"]["image"]
    [python] = [step for step in JOBS["test"]["steps"] if "setup-python" in step.get("uses", "")]
    assert python["with"]["python-version"] == "${{ matrix.python }}"


def test_workflow__jobs__run_somewhere_and_may_write_nothing() -> None:
    assert all(job["runs-on"] for job in JOBS.values())
    assert WORKFLOW["permissions"] == {"contents": "read"}
