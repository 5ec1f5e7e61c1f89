"""Invoices that this release ends, and its transfers, while the previous one serves, too.

The previous one may show less of them. It must not fail, and must not undo them.
"""

import asyncio

import pytest

from tests.support.rollout import Answer, Site, statuses
from tests.upgrade.conftest import Rolling

pytestmark = pytest.mark.asyncio(loop_scope="package")

ALREADY_PAID = (409, "invoice_already_paid")


async def issue(site: Site, user_id: int = 2, amount: int = 500) -> int:
    body = {"user_id": user_id, "amount": amount, "label": "While both serve"}
    invoice_id: int = (await site.create("/invoices", body))["id"]
    return invoice_id


async def pay(site: Site, invoice_id: int) -> Answer:
    return await site.write(f"/invoices/{invoice_id}/pay")


async def void(site: Site, invoice_id: int) -> Answer:
    return await site.write(f"/invoices/{invoice_id}/void")


async def test_invoice__voided_by_the_new_release__the_old_one_never_pays_it(
    rolling: Rolling,
) -> None:
    old, new = rolling.sites
    [before] = await old.balances(2)
    ended, *others = [await issue(old) for _ in range(6)]
    assert (await void(new, ended)).status == 200
    assert (await old.show(f"/invoices/{ended}"))["status"] == "void"
    pending = await old.show("/invoices?status=pending&user_id=2")
    assert ended not in [invoice["id"] for invoice in pending]
    # In one batch or in several, the others are paid.
    refused, *paid = await asyncio.gather(*(pay(old, each) for each in (ended, *others)))
    assert (refused.status, refused.body["error"]) == ALREADY_PAID
    assert statuses(paid) == {200}
    assert (await new.show(f"/invoices/{ended}"))["status"] == "void"
    assert await new.balances(2) == [before + 5 * 500]


async def test_invoice__reversed_by_the_new_release__the_old_one_never_pays_it_again(
    rolling: Rolling,
) -> None:
    old, new = rolling.sites
    before = await old.balances(2)
    invoice_id = await issue(old)
    assert (await pay(old, invoice_id)).status == 200
    assert (await new.write(f"/invoices/{invoice_id}/reverse")).status == 200
    assert (await old.show(f"/invoices/{invoice_id}"))["status"] == "reversed"
    refused = await pay(old, invoice_id)
    assert (refused.status, refused.body["error"]) == ALREADY_PAID
    assert await old.balances(2) == before
    reasons = [entry["reason"] for entry in await old.show("/user/2/ledger?limit=2")]
    assert reasons == ["reversal", "invoice"]


async def test_invoices__paid_by_the_old_and_voided_by_the_new_release_at_once__one_of_both(
    rolling: Rolling,
) -> None:
    old, new = rolling.sites
    [before] = await old.balances(2)
    ids = [await issue(new) for _ in range(20)]
    paying, voiding = [pay(old, each) for each in ids], [void(new, each) for each in ids]
    answers = await asyncio.gather(*paying, *voiding)
    assert statuses(answers) <= {200, 409}
    succeeded = [answer.status == 200 for answer in answers]
    paid, voided = succeeded[:20], succeeded[20:]
    assert voided == [not each for each in paid]
    for site in rolling.sites:
        shown = [(await site.show(f"/invoices/{each}"))["status"] for each in ids]
        assert shown == ["paid" if each else "void" for each in paid]
    assert await old.balances(2) == [before + 500 * paid.count(True)]


async def test_transfers__while_the_old_release_moves_the_same_accounts__nothing_is_lost(
    rolling: Rolling,
) -> None:
    old, new = rolling.sites
    before = await old.balances(2, 3)
    ids = [await issue(old, 2 + number % 2, amount=7) for number in range(20)]
    transfers = [
        {"from_user_id": giver, "to_user_id": 5 - giver, "amount": 3, "label": "Lunch"}
        for giver in (2, 3, 2) * 10
    ]
    answers = await asyncio.gather(
        *(new.write("/transfers", transfer) for transfer in transfers),
        *(pay(old, each) for each in ids),
    )
    assert statuses(answers) == {200, 201}
    expected = [before[0] + 70 - 30, before[1] + 70 + 30]
    assert [await site.balances(2, 3) for site in rolling.sites] == [expected, expected]
    reasons = {entry["reason"] for entry in await old.show("/user/2/ledger?limit=50")}
    assert {"invoice", "transfer"} <= reasons
