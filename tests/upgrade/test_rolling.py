"""Processes of both releases at once, on the schema of this one."""

import asyncio
import random
from functools import partial
from itertools import product

import pytest

from tests.support.polling import until
from tests.support.rollout import (
    ANN,
    BEN,
    WRITES,
    Answer,
    Call,
    Site,
    deployment,
    report,
    statuses,
)
from tests.upgrade.conftest import Rolling

pytestmark = pytest.mark.asyncio(loop_scope="package")

DEPLOYMENTS = "SELECT count(*) FROM deployments"


async def test_migration__under_load__old_processes_go_on(rolling: Rolling) -> None:
    """So does the load when it is given grants, an events service and company."""
    assert rolling.load.problems == []
    assert set(rolling.load.statuses) <= {200, 201, 503}
    count = "SELECT count(*) FROM invoices WHERE label = 'load'"
    assert await rolling.connection.fetchval(count) == rolling.load.invoices


async def test_kept_answer__of_the_old_release_before_the_upgrade__replayed_by_both(
    rolling: Rolling,
) -> None:
    for (call, answer), site in product(rolling.filled.answers, rolling.sites):
        assert await site.send(call) == answer


@pytest.mark.parametrize("first", [0, 1], ids=["old first", "new first"])
async def test_key__sent_to_one_and_then_to_the_other__executed_once(
    rolling: Rolling, first: int
) -> None:
    sites = rolling.sites[first], rolling.sites[1 - first]
    at = {"datetime": f"203{first}-09-01T12:00:00Z"}
    for call in WRITES:
        key = f"{first} {call.key}"
        body = call.body | at if "datetime" in (call.body or {}) else call.body
        again = Call(call.service, call.method, call.path, body, key)
        answers = [await site.send(again) for site in (*sites, *sites)]
        assert answers.count(answers[0]) == 4, (call, answers)
        assert answers[0].status < 500


async def test_writes__at_both_at_once__each_once(rolling: Rolling) -> None:
    """Some with keys that both get, and many more that meet at the same rows and lists."""
    rng = random.Random(7)
    calls: list[tuple[Site, Call]] = []
    for n in range(1, 41):
        body = {"user_id": 1, "amount": n, "label": "both"}
        invoice = Call("commerce", "POST", "/invoices", body, f"both {n}")
        calls += [(site, invoice) for site in rolling.sites]
    for n in range(60):
        site = rng.choice(rolling.sites)
        order = {"items": [{"productId": 1, "quantity": 1}], "userId": rng.randint(1, 4)}
        at = f"2032-{rng.randint(1, 12):02}-01T{rng.randint(0, 23):02}:00:00Z"
        booking = {"datetime": at, "totalfee": n, "services": ["123"]}
        project = f"/projects/{rng.randint(1, 5)}/deployment"
        calls.append((site, Call("commerce", "POST", "/orders", order)))
        calls.append((site, Call("commerce", "POST", "/service-orders", booking)))
        calls.append((site, Call("projects", "POST", project)))
    answers = await asyncio.gather(*(site.send(call) for site, call in calls))
    assert statuses(answers) <= {201, 409}
    count = "SELECT count(*) FROM invoices WHERE label = 'both'"
    assert await rolling.connection.fetchval(count) == 40
    in_order = "SELECT max(position) = count(*) AND min(position) = 1 FROM deployments"
    assert await rolling.connection.fetchval(in_order)


async def test_key_of_a_user__at_both_at_once__executed_once(rolling: Rolling) -> None:
    before = await rolling.connection.fetchval(DEPLOYMENTS)
    keys = [f"user {number}" for number in range(20)]
    token = rolling.tenant.token(ANN)
    calls = [*product(keys, rolling.sites)] * 3
    answers = await asyncio.gather(*(site.send(deployment(key, token)) for key, site in calls))
    assert statuses(answers) == {201}
    ids = {(key, answer.body["id"]) for (key, _), answer in zip(calls, answers, strict=True)}
    assert len(ids) == len(keys)
    assert await rolling.connection.fetchval(DEPLOYMENTS) == before + len(keys)


async def test_key__of_two_users__each_has_its_own_at_both(rolling: Rolling) -> None:
    before = await rolling.connection.fetchval(DEPLOYMENTS)
    old, new = rolling.sites
    ann, ben = (deployment("shared", rolling.tenant.token(each)) for each in (ANN, BEN))
    firsts = [await new.send(ann), await old.send(ben)]
    assert statuses(firsts) == {201}
    assert firsts[0] != firsts[1]
    assert [await old.send(ann), await new.send(ben)] == firsts
    assert await rolling.connection.fetchval(DEPLOYMENTS) == before + 2


async def test_key_of_a_webhook__at_both__one_answer(rolling: Rolling) -> None:
    """At once, and again when the deployment has moved on, and would refuse the report."""
    secret = await rolling.connection.fetchval("SELECT app_secret FROM projects WHERE id = 4")
    old, new = rolling.sites
    started = [await old.write("/projects/4/deployment", service="projects") for _ in range(14)]
    *ids, one, other = [answer.body["id"] for answer in started]

    async def send(site: Site, deployment_id: int, status: str) -> Answer:
        return await site.send(report(deployment_id, status, secret))

    for status in ("building", "deploying", "building"):
        calls = [send(site, id_, status) for id_ in ids for site in (old, new)]
        answers = await asyncio.gather(*calls)
        assert statuses(answers) == {200}
        assert {answer.body["status"] for answer in answers} == {status}
    for first, second, id_ in ((old, new, one), (new, old, other)):
        stages = ("building", "deploying", "done")
        done = [await send(first, id_, stage) for stage in stages]
        assert statuses(done) == {200}
        assert [await send(second, id_, stage) for stage in stages] == done


async def test_api_key__made_by_either__taken_by_both_until_it_is_revoked(
    rolling: Rolling,
) -> None:
    for maker, other in (rolling.sites, rolling.sites[::-1]):
        key = {"name": "visitor", "scopes": ["projects:read"]}
        made = await maker.write("/keys", key, service="projects")
        assert made.status == 201, made

        call = Call("projects", "GET", "/projects", secret=made.body["secret"])
        assert [(await site.send(call)).status for site in rolling.sites] == [200, 200]
        revoked = await other.send(Call("projects", "DELETE", "/keys/visitor"))
        assert revoked.status == 204
        for site in rolling.sites:
            await until(partial(_is_refused, site, call))


async def test_api_key__with_scopes_of_the_new_release__the_old_one_goes_by_those_it_knows(
    rolling: Rolling,
) -> None:
    old, new = rolling.sites
    key = {"name": "newcomer", "scopes": ["catalogue:write", "orders:read", "transfers:write"]}
    made = await new.write("/keys", key)
    assert made.status == 201, made
    paths = ("/orders", "/invoices")
    for site in rolling.sites:
        answers = [await site.read(path, secret=made.body["secret"]) for path in paths]
        assert [answer.status for answer in answers] == [200, 403]
    listed = await old.read("/keys")
    assert listed.body[0]["scopes"] == key["scopes"]


async def _is_refused(site: Site, call: Call) -> bool:
    answer = await site.send(call)
    assert answer.status in {200, 401}
    return answer.status == 401
