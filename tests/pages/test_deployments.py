"""The console's deployments and projects."""

import csv
import io
import re

import pytest

from tests.support.console import KEY, Visitor, text_of
from tests.support.statements import counted
from tests.support.types import Connection

EVIL = "<script>alert('x')</script>"
RAIL = {"console/count_waiting": 1, "subscriptions/count_failing": 1}


@pytest.fixture
async def deployments(connection: Connection) -> None:
    """Of project 1, one is done and one is building; of project 2, one has failed."""
    await connection.execute(
        """
        INSERT INTO users (username) VALUES ('ada');
        INSERT INTO projects (position, name, user_id, app_secret, url) VALUES
        (1, 'Engine', 1, 'the-secret', 'https://engine.example'),
        (2, $x$<script>alert('x')</script>$x$, 1, 'the-secret', 'javascript:alert(1)');
        INSERT INTO deployments
        (position, project_id, status, branch, commit, deployed_in, ended_at, reason, first_live,
        created_at) VALUES
        (1, 1, 'done', 'main', '9f2c1e7', 95, now(), NULL, true, now() - interval '95 s'),
        (2, 1, 'building', $x$<script>alert('x')</script>$x$, NULL, NULL, NULL, NULL, false, now()),
        (3, 2, 'failed', NULL, NULL, NULL, now(), 'timed_out', false, now() - interval '1 h')
        """
    )


def ids(page: str) -> list[int]:
    """The ids of the deployments that a list shows."""
    return [int(found) for found in re.findall(r'<tr id="deployment-(\d+)"', page)]


async def test_list__no_filters__newest_first_of_all_projects(
    operator: Visitor, deployments: None
) -> None:
    page = await operator.page("/deployments")
    assert ids(page) == [3, 2, 1]
    assert EVIL not in page
    text = text_of(page)
    assert "1 min 35 s" in text
    assert "timed out" in text
    assert "so far" in text
    assert "the-secret" not in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=done", [1]),
        ("status=ongoing", [2]),
        ("project=1", [2, 1]),
        ("project=1&status=failed", []),
        ("project=99", []),
        ("project=&status=", [3, 2, 1]),
    ],
)
async def test_list__filters_of_the_url__applied(
    operator: Visitor, deployments: None, query: str, found: list[int]
) -> None:
    page = await operator.page(f"/deployments?{query}")
    assert ids(page) == found
    assert ("No deployment matches" in page) == (not found)


@pytest.mark.parametrize("query", ["project=x", "project=0", "status=odd", "other=1"])
async def test_list__bad_filters__400_and_what_is_wrong(operator: Visitor, query: str) -> None:
    page = await operator.page(f"/deployments?{query}", status=400)
    assert 'class="problem"' in page


async def test_list__nothing_there__says_what_would_be(operator: Visitor) -> None:
    assert "No deployments yet" in await operator.page("/deployments")


async def test_list__many__pages_by_key_csv_and_as_few_statements(
    operator: Visitor, connection: Connection, deployments: None
) -> None:
    await operator.page("/deployments")
    with counted() as few:
        await operator.page("/deployments")
    await connection.execute(
        "INSERT INTO deployments (position, project_id) "
        "SELECT n, 1 + n % 2 FROM generate_series(4, 1203) AS n"
    )
    with counted() as many:
        first = await operator.page("/deployments")
    assert few == many == {**RAIL, "console/list_deployments": 1}
    assert ids(first) == [*range(1203, 1153, -1)]
    older = re.search(r'href="([^"]*)" rel="next"', first)
    assert older is not None
    assert ids(await operator.page(older[1].replace("&amp;", "&")))[0] == 1153
    response = await operator.get("/deployments?project=1&format=csv")
    rows = [*csv.reader(io.StringIO(await response.text()))]
    assert len(rows) == 1 + 602
    assert {row[1] for row in rows[1:]} == {"1"}


async def test_live_part__alone__without_the_page_around(
    operator: Visitor, deployments: None
) -> None:
    part = await operator.page("/deployments?part=list&status=done")
    assert part.lstrip().startswith("<section")
    assert ids(part) == [1]


async def test_deployment__its_page__stages_and_what_can_be_done(
    operator: Visitor, deployments: None, log: Connection
) -> None:
    await log.execute(
        "INSERT INTO events (event_id, name, subject, payload, created_at) VALUES "
        "(gen_random_uuid(), 'deployment.created', 'project:1', '{\"deployment_id\": 2}', now()), "
        "(gen_random_uuid(), 'deployment.building', 'project:1', '{\"deployment_id\": 2}', now()), "
        "(gen_random_uuid(), 'deployment.failed', 'project:1', '{\"deployment_id\": 1}', now())"
    )
    page = await operator.page("/deployments/2")
    assert 'href="/events/2"' in page
    assert 'href="/events/3"' not in page
    assert EVIL not in page
    text = text_of(page)
    assert re.search("Pending.*Building now.*Deploying to come.*Done to come", text)
    assert "Cancel…" in text
    done = text_of(await operator.page("/deployments/1"))
    assert "Redeploy…" in done
    assert "Cancel…" not in done
    assert "Building not reported" in done
    assert "Failed" in text_of(await operator.page("/deployments/3"))
    with counted() as one:
        await operator.page("/deployments/2")
    assert one.total() <= 5, one


@pytest.mark.parametrize("place", ["deployments", "projects"])
@pytest.mark.parametrize("given", ["99", "x", "0", "9" * 30, "%00"])
async def test_page__unknown__404(operator: Visitor, place: str, given: str) -> None:
    assert "To the overview" in await operator.page(f"/{place}/{given}", status=404)


async def test_cancel__an_ongoing_one__done_with_actor_and_event(
    operator: Visitor, deployments: None, connection: Connection
) -> None:
    assert "Deployment 2 was cancelled." in await operator.act("/deployments/2/cancel")
    assert await connection.fetchval("SELECT status FROM deployments WHERE id = 2") == "cancelled"
    [event] = await connection.fetch("SELECT name, actor FROM outbox")
    assert (event["name"], event["actor"]) == ("deployment.cancelled", "console:ada")


async def test_cancel__one_that_has_ended__refused_in_words(
    operator: Visitor, deployments: None
) -> None:
    assert "only an ongoing one can be cancelled" in await operator.act("/deployments/1/cancel")


async def test_redeploy__sent_twice__starts_one_of_the_same_revision(
    operator: Visitor, deployments: None, connection: Connection
) -> None:
    found = KEY.search(await operator.page("/deployments/1/redeploy"))
    assert found is not None
    for _ in range(2):
        response = await operator.post("/deployments/1/redeploy", {"key": found[1]})
        assert "Deployment 4 has started." in await operator.follow(response)
    [started] = await connection.fetch("SELECT * FROM deployments WHERE id > 3")
    assert (started["branch"], started["commit"], started["project_id"]) == ("main", "9f2c1e7", 1)


async def test_project__its_page__facts_deployments_and_feed(
    operator: Visitor, deployments: None, log: Connection
) -> None:
    await log.execute(
        "INSERT INTO events (event_id, name, subject, payload, actor, created_at) "
        "VALUES (gen_random_uuid(), 'project.created', 'project:2', '{}', $1, now())",
        EVIL,
    )
    page = await operator.page("/projects/2")
    assert ids(page) == [3]
    assert "project.created" in page
    assert EVIL not in page
    assert 'href="javascript:' not in page
    assert 'href="https://engine.example"' in await operator.page("/projects/1")
    assert "the-secret" not in page


async def test_viewer__deployments__no_buttons_and_403(viewer: Visitor, deployments: None) -> None:
    for path in ("/deployments", "/deployments/1", "/deployments/2", "/projects/1"):
        page = text_of(await viewer.page(path))
        assert "Cancel…" not in page
        assert "Redeploy…" not in page
    for action in ("2/cancel", "1/redeploy"):
        assert (await viewer.post(f"/deployments/{action}", {"key": "x"})).status == 403


@pytest.mark.parametrize("path", ["/deployments/2/cancel", "/deployments/1/redeploy"])
async def test_action__cross_site_or_no_key__refused(
    operator: Visitor, deployments: None, connection: Connection, path: str
) -> None:
    away = await operator.post(path, {}, {"Sec-Fetch-Site": "cross-site"})
    assert away.status == 403
    assert (await operator.post(path, {})).status == 400
    assert await connection.fetchval("SELECT count(*) FROM outbox") == 0
