"""The workflows of continuous integration and of releases: made of targets that exist."""

import re

import yaml

from tests.support.documents import ROOT

WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
JOBS = WORKFLOW["jobs"]
RELEASE = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
STEPS, RELEASE_STEPS = (
    [step for job in jobs.values() for step in job["steps"]] for jobs in (JOBS, RELEASE["jobs"])
)


def test_workflow__triggers__pushes_to_main_and_pull_requests() -> None:
    triggers = WORKFLOW[True]  # YAML 1.1 reads `on` as true
    assert triggers == {"push": {"branches": ["main"]}, "pull_request": None}


def test_workflow__each_step__an_action_with_a_version_or_a_command() -> None:
    for step in STEPS + RELEASE_STEPS:
        assert ("uses" in step) != ("run" in step), step
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"])


def test_workflow__targets_of_make__exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    checked, released = (
        {name for step in steps for name in re.findall(r"make ([\w-]+)", step.get("run", ""))}
        for steps in (STEPS, RELEASE_STEPS)
    )
    assert checked == {"check", "image-check", "release-check", "test", "test-browser"}
    assert released == {"check", "image-check", "release-check"}
    assert checked <= targets


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


def test_release__triggers__pushes_of_tags() -> None:
    assert RELEASE[True] == {"push": {"tags": ["v*"]}}


def test_release__only_the_job_that_publishes__may_write_and_it_runs_none_of_our_code() -> None:
    assert RELEASE["permissions"] == {"contents": "read"}
    jobs = RELEASE["jobs"]
    assert [name for name, job in jobs.items() if "permissions" in job] == ["publish"]
    assert jobs["publish"]["permissions"] == {"contents": "write"}
    assert jobs["publish"]["needs"] == "build"
    uses = [step["uses"].partition("@")[0] for step in jobs["publish"]["steps"] if "uses" in step]
    assert uses == ["actions/download-artifact"]
