"""Orders and products that this release changes while the previous one serves, too.

The previous one may show less of it. It must not fail, and must not undo it.
"""

import asyncio
from functools import partial

import asyncpg
import pytest

from tests.support.polling import until
from tests.support.rollout import Answer, Call, Site, statuses
from tests.upgrade.conftest import Rolling, closing

pytestmark = pytest.mark.asyncio(loop_scope="package")

PRICE = 1099  # of product 4


async def order(site: Site, user_id: int = 2) -> int:
    body = {"items": [{"productId": 4, "quantity": 1}], "userId": user_id}
    order_id: int = (await site.create("/orders", body))["id"]
    return order_id


async def cancel(site: Site, order_id: int) -> Answer:
    return await site.write(f"/orders/{order_id}/cancel")


async def status_of(site: Site, order_id: int) -> str:
    status: str = (await site.show(f"/orders/{order_id}"))["status"]
    return status


async def is_settled(site: Site, order_id: int) -> bool:
    return await status_of(site, order_id) != "pending"


async def test_order__refunded_by_the_new_release__stays_approved_at_the_old_one(
    rolling: Rolling,
) -> None:
    old, new = rolling.sites
    before = await old.balances(2)
    order_id = await order(old)
    await until(partial(is_settled, old, order_id))
    bodies = ({"amountCents": 99}, None, None)
    refunds = [await new.write(f"/orders/{order_id}/refunds", body) for body in bodies]
    assert [refund.status for refund in refunds] == [201, 201, 409]
    assert await status_of(old, order_id) == "approved"
    approved = await old.show("/orders?status=approved")
    assert order_id in [each["id"] for each in approved]
    reasons = [entry["reason"] for entry in await old.show("/user/2/ledger?limit=3")]
    assert reasons == ["refund", "refund", "order"]
    assert [await site.balances(2) for site in rolling.sites] == [before, before]


async def test_benefit__refunded_by_the_new_release__is_sold_once_more(rolling: Rolling) -> None:
    old, new = rolling.sites
    purchase = Call(
        "commerce", "POST", "/api/orders", {"order": {"items": ["bike"], "user_id": "grace"}}
    )
    bought = await old.send(purchase)
    assert bought.status == 200
    refund = await new.write(f"/orders/{bought.body['order']['order_id']}/refunds")
    assert refund.status == 201
    assert "bike" not in (await old.show("/api/users/grace"))["user"]["data"]["product_ids"]
    again = await asyncio.gather(*(site.send(purchase) for site in rolling.sites))
    assert sorted(answer.status for answer in again) == [200, 400]
    assert "bike" in (await old.show("/api/users/grace"))["user"]["data"]["product_ids"]


async def test_order__cancelled_by_the_new_release__the_old_one_does_not_settle_it(
    rolling: Rolling,
) -> None:
    old, new = rolling.sites
    [before] = await old.balances(3)
    async with closing(await asyncpg.connect(rolling.databases.main)) as locker:
        # No process can settle them meanwhile.
        await locker.execute("BEGIN; SELECT FROM users WHERE id = 3 FOR NO KEY UPDATE")
        *ended, kept = [await order(site, user_id=3) for site in (old, new, old)]
        assert statuses([await cancel(new, each) for each in ended]) == {200}
        await locker.execute("ROLLBACK")
    await until(partial(is_settled, old, kept))
    for site in rolling.sites:
        shown = [await status_of(site, each) for each in (*ended, kept)]
        assert shown == ["cancelled", "cancelled", "approved"]
    assert await old.balances(3) == [before - PRICE]


async def test_orders__settled_by_either_and_cancelled_by_the_new_release__one_of_both(
    rolling: Rolling,
) -> None:
    old, new = rolling.sites
    [before] = await old.balances(3)
    ids = await asyncio.gather(*(order(site, user_id=3) for site in rolling.sites * 10))
    answers = await asyncio.gather(*(cancel(new, each) for each in ids))
    assert statuses(answers) <= {200, 409}
    expected = ["cancelled" if answer.status == 200 else "approved" for answer in answers]
    for each in ids:
        await until(partial(is_settled, old, each))
    assert [await status_of(old, each) for each in ids] == expected
    assert await old.balances(3) == [before - PRICE * expected.count("approved")]


async def test_product__retired_and_service_renamed_by_the_new_release__the_old_one_goes_on(
    rolling: Rolling,
) -> None:
    """It knows neither, and sells what is retired: docs/operating.md says so."""
    old, new = rolling.sites
    product = await new.create("/catalogue/products", {"slug": "kite", "name": "Kite", "price": 9})
    assert (await new.write(f"/catalogue/products/{product['id']}/retire")).status == 200
    body = {"items": [{"productId": product["id"], "quantity": 1}], "userId": 2}
    answers = [await site.write("/orders", body) for site in rolling.sites]
    assert [answer.status for answer in answers] == [201, 400]
    order_id = answers[0].body["id"]
    await until(partial(is_settled, new, order_id))
    assert [await status_of(site, order_id) for site in rolling.sites] == ["approved", "approved"]

    path = "/catalogue/services/456"
    assert (await new.send(Call("commerce", "PATCH", path, {"name": "Appraisal"}))).status == 200
    booking = {"datetime": "2039-05-01T12:00:00Z", "totalfee": 1, "services": ["456"]}
    made = await old.create("/service-orders", booking)
    assert (await new.show(f"/service-orders/{made['id']}")) == made
    removed = await old.send(Call("commerce", "DELETE", f"/service-orders/{made['id']}"))
    assert removed.status < 300
