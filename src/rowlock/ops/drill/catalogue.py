"""What the clients of a drill do with the catalogue.

Each client adds products and services of its own, which no other one changes. So it knows whether
they are retired, and must be refused those that are.
"""

from typing import Any

from rowlock.ops.drill import others, sales
from rowlock.ops.drill.clients import Client

HIGHEST_PRICE = 1_000


async def add_product(client: Client) -> None:
    """Add a product to both shops."""
    product = {
        "slug": f"drill-{client.rng.getrandbits(64):x}",
        "name": f"Drill {client.number}",
        "price": client.rng.randint(1, HIGHEST_PRICE),
    }
    await _add(client, "product", product)


async def add_service(client: Client) -> None:
    """Add a service that can be booked."""
    await _add(client, "service", {"name": f"Drill {client.number}"})


async def change_price(client: Client) -> None:
    """Give a product another price."""
    product = client.own.get("product")
    if product is None:
        return
    change = {"price": product["price"] + client.rng.randint(1, HIGHEST_PRICE)}
    path = f"/catalogue/products/{product['id']}"
    answer = await client.send("price", "PATCH", path, change)
    _note(client, "product", "changed", answer.body if answer.is_done else None)


async def retire_or_restore(client: Client) -> None:
    """Retire a product or a service, or put it back."""
    kind = client.rng.choice(("product", "service"))
    item = client.own.get(kind)
    if item is None:
        return
    act, what = ("restore", "restored") if item["retired_at"] else ("retire", "retired")
    path = f"/catalogue/{kind}s/{item['id']}/{act}"
    answer = await client.send(f"{kind} {what}", "POST", path)
    _note(client, kind, what, answer.body if answer.is_done else None)


async def order_own(client: Client) -> None:
    """Order the client's own product: it must be there, at its price, unless it is retired."""
    product = client.own.get("product")
    if product is None:
        return
    answer = await sales.order_product(client, product["id"], product["price"])
    if answer.is_done and product["retired_at"]:
        client.expect(False, answer, "the product was retired")
    elif answer.is_refused and answer.body["error"] == "products_not_found":
        client.expect(bool(product["retired_at"]), answer, "the product was not retired")


async def book_own(client: Client) -> None:
    """Book the client's own service, which must be refused if it is retired."""
    service = client.own.get("service")
    if service is None:
        return
    answer = await others.book_service(client, str(service["id"]))
    client.expect(not (answer.is_done and service["retired_at"]), answer, "it was retired")


async def _add(client: Client, kind: str, item: dict[str, Any]) -> None:
    answer = await client.send(kind, "POST", f"/catalogue/{kind}s", item)
    if answer.is_done:
        client.journal.add(f"{kind}s", answer.body["id"])
    _note(client, kind, "created", answer.body if answer.is_done else None)


def _note(client: Client, kind: str, what: str, item: dict[str, Any] | None) -> None:
    """Note what the item is now; None: the client does not know, and lets it be."""
    client.own[kind] = item
    if item is not None:
        subject = f"{kind}:{item['id']}"
        client.journal.catalogue[subject] = (item.get("price"), item["retired_at"] is not None)
        client.journal.happened[f"{kind}.{what}", subject] += 1
