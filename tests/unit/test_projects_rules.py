"""What may become of a deployment, as tables."""

from datetime import UTC, datetime, timedelta

import pytest

from rowlock.projects.rules import (
    STATUSES,
    CancelDeployment,
    Deployment,
    Move,
    Panel,
    Project,
    ReportStatus,
    WebhookMessage,
    allowed_next,
    decide,
)
from rowlock.rejections import (
    DeploymentMoveRefused,
    DeploymentNotFound,
    DeploymentNotOngoing,
    Rejection,
)

CREATED = datetime(2024, 5, 1, 12, tzinfo=UTC)
NOW = CREATED + timedelta(seconds=90, milliseconds=900)
ENDED = {"done", "failed", "cancelled"}


def panel(*statuses: str, url: str | None = None) -> Panel:
    """One project with a deployment in each of `statuses`, numbered from 1."""
    deployments = {
        number: Deployment(
            number,
            1,
            status,
            deployed_in=7 if status == "done" else None,
            created_at=CREATED,
            ended_at=CREATED if status in ENDED else None,
        )
        for number, status in enumerate(statuses, start=1)
    }
    live = {1} if "done" in statuses else set()
    return Panel(NOW, deployments, {1: Project(1, "Shop", url, 1)}, live)


def move(command: ReportStatus | CancelDeployment, state: Panel) -> Move:
    """The move that the command makes."""
    outcome = decide(command, state)
    assert isinstance(outcome, Move)
    return outcome


@pytest.mark.parametrize(
    ("status", "allowed"),
    [
        ("pending", {"building", "deploying", "done", "failed", "cancelled"}),
        ("building", {"deploying", "done", "failed", "cancelled"}),
        ("deploying", {"done", "failed", "cancelled"}),
        ("done", set()),
        ("failed", set()),
        ("cancelled", set()),
    ],
)
def test_report__each_status__forward_only(status: str, allowed: set[str]) -> None:
    assert set(allowed_next(status)) == allowed
    for reported in STATUSES:
        state = panel(status)
        outcome = decide(ReportStatus(1, reported, "u"), state)
        if reported in allowed:
            assert isinstance(outcome, Move)
            assert (outcome.previous, outcome.deployment.status) == (status, reported)
            assert state.deployments[1] == outcome.deployment
        elif reported == status:
            assert outcome == panel(status).deployments[1]
        else:
            assert isinstance(outcome, DeploymentMoveRefused)
            assert outcome.details == {"deployment_id": 1, "status": status, "reported": reported}
        if reported not in allowed:
            assert state.deployments == panel(status).deployments


@pytest.mark.parametrize("status", STATUSES)
def test_cancel__each_status__only_if_ongoing(status: str) -> None:
    outcome = decide(CancelDeployment(1), panel(status))
    if status in ENDED:
        assert isinstance(outcome, DeploymentNotOngoing)
        assert outcome.details == {"deployment_id": 1, "status": status}
    else:
        assert isinstance(outcome, Move)
        assert outcome.deployment.status == "cancelled"
        assert outcome.deployment.ended_at == NOW
        assert not outcome.assigns_url


@pytest.mark.parametrize("command", [CancelDeployment(9), ReportStatus(9, "done", "u")])
def test_move__unknown_deployment__refused(command: ReportStatus | CancelDeployment) -> None:
    assert isinstance(decide(command, panel("pending")), DeploymentNotFound)


@pytest.mark.parametrize(
    ("status", "deployed_in", "ended_at"),
    [
        ("building", None, None),
        ("deploying", None, None),
        ("done", 90, NOW),
        ("failed", None, NOW),
        ("cancelled", None, NOW),
    ],
)
def test_report__status__fills_what_belongs_to_it(
    status: str, deployed_in: int | None, ended_at: datetime | None
) -> None:
    moved = move(ReportStatus(1, status, "u"), panel("pending")).deployment
    assert (moved.deployed_in, moved.ended_at) == (deployed_in, ended_at)


def test_done__transaction_began_before_the_deployments__takes_no_time() -> None:
    state = panel("pending")
    state.now = CREATED - timedelta(seconds=2)
    assert move(ReportStatus(1, "done", "u"), state).deployment.deployed_in == 0


def test_done__project_without_url__gets_the_first_one_offered() -> None:
    state = panel("building", "building")
    first = move(ReportStatus(1, "done", "one"), state)
    second = move(ReportStatus(2, "done", "two"), state)
    assert (first.project.url, first.goes_live, first.assigns_url) == ("one", True, True)
    assert (second.project.url, second.goes_live, second.assigns_url) == ("one", False, False)


def test_done__project_with_url__keeps_it() -> None:
    moved = move(ReportStatus(1, "done", "new"), panel("building", url="old"))
    assert (moved.project.url, moved.goes_live, moved.assigns_url) == ("old", True, False)


def test_done__another_was_before__does_not_bring_it_live() -> None:
    moved = move(ReportStatus(1, "done", "new"), panel("building", "done", url="old"))
    assert not moved.goes_live


def test_signed_message__again__same_answer_whatever_happened_since() -> None:
    state = panel("pending")
    first = move(ReportStatus(1, "building", "u", "msg_1"), state)
    decide(ReportStatus(1, "done", "u", "msg_2"), state)
    refused = decide(ReportStatus(1, "failed", "u", "msg_3"), state)
    again = decide(ReportStatus(1, "building", "u", "msg_1"), state)
    assert isinstance(again, Deployment)
    assert (again.status, again.deployed_in) == (first.deployment.status, None)
    done_again = decide(ReportStatus(1, "done", "u", "msg_2"), state)
    assert isinstance(done_again, Deployment)
    assert done_again.deployed_in == 90
    refused_again = decide(ReportStatus(1, "failed", "u", "msg_3"), state)
    assert isinstance(refused, Rejection)
    assert isinstance(refused_again, Rejection)
    assert refused_again.details == refused.details
    assert state.deployments[1].status == "done"


def test_signed_message__of_another_deployment__is_another_message() -> None:
    state = panel("pending", "pending")
    state.messages[1, "msg_1"] = WebhookMessage("building", "building")
    assert isinstance(decide(ReportStatus(2, "building", "u", "msg_1"), state), Move)
