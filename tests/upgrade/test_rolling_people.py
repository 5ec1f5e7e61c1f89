"""Users that this release creates, changes and anonymises while the previous one serves, too."""

import pytest

from tests.support.rollout import Call, statuses
from tests.upgrade.conftest import Rolling

pytestmark = pytest.mark.asyncio(loop_scope="package")


def purchase(username: str, product: str, key: str | None = None) -> Call:
    body = {"order": {"items": [product], "user_id": username}}
    return Call("commerce", "POST", "/api/orders", body, key)


async def test_user__created_by_the_new_release__shops_at_the_old_one(rolling: Rolling) -> None:
    old, new = rolling.sites
    person = {"username": "Noether", "first_name": "Emmy", "opening_balance": 50_000}
    made = await new.create("/users", person)
    assert (await old.send(purchase("noether", "lunch"))).status == 200
    shown = await old.show(f"/user/{made['user_id']}")
    assert (shown["first_name"], shown["balance"]) == ("Emmy", 38_000)
    # Its name is taken at both, however it is spelt.
    taken = await new.write("/users", {"username": "NOETHER"})
    assert (taken.status, taken.body["error"]) == (409, "username_taken")
    assert (await old.show("/api/users/NOETHER"))["user"]["data"]["product_ids"] == ["lunch"]


async def test_user__anonymised_by_the_new_release__served_by_both_under_the_new_name(
    rolling: Rolling,
) -> None:
    old, new = rolling.sites
    await old.show("/api/users/shy")  # opens the account
    bought = purchase("shy", "lunch", "bought before")
    first = await old.send(bought)
    assert first.status == 200
    find = "SELECT id FROM users WHERE username = 'shy'"
    user_id = await rolling.connection.fetchval(find)
    assert (await new.write(f"/users/{user_id}/anonymise")).status == 200
    assert [await site.send(bought) for site in rolling.sites] == [first, first]
    name = f"anonymous-{user_id}"
    again = [await site.send(purchase(name, "spotify")) for site in rolling.sites]
    assert [answer.status for answer in again] == [200, 400]
    assert again[1].body == {"error": "products_already_purchased"}
    for site in rolling.sites:
        assert (await site.show(f"/user/{user_id}"))["first_name"] == ""
        owned = (await site.show(f"/api/users/{name}"))["user"]["data"]["product_ids"]
        assert set(owned) == {"lunch", "spotify"}
    assert statuses([await old.read(f"/user/{user_id}/ledger")]) == {200}
    left = "SELECT count(*) FROM outbox_dead_letters WHERE payload::text LIKE '%shy%'"
    assert await rolling.connection.fetchval(left) == 0
