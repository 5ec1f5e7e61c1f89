"""What the clients of a drill do in the shops: accounts, orders, what becomes of them, refunds."""

from typing import Any

from rowlock.ops.drill import reads
from rowlock.ops.drill.clients import NO_ANSWER, Answer, Client
from rowlock.ops.drill.journal import Leg, Opened, Refunded, SawDocument, Wrote

WITH_USER = 0.8  # of the orders
CANCELLED = 0.25  # of the orders, right after they were made
GUESSED = 0.8  # of the other cancellations: of one of the next orders
NEXT_ORDERS = 3
IN_PART = 0.5  # of the refunds
MOST_ITEMS = 3


async def open_account(client: Client) -> None:
    """Let the benefits shop open an account."""
    username = f"drill-{client.number}-{client.rng.getrandbits(64):x}"
    client.username = username
    answer = await client.send("user", "GET", f"/api/users/{username}")
    client.note(answer, Opened(username))
    if answer.is_done:
        client.journal.add("usernames", username)
        reads.note_shopper(client, answer, username)


async def buy_benefit(client: Client) -> None:
    """Buy benefits, from the balance of the last account that this client has opened."""
    if not client.username:
        await open_account(client)
    username, slugs = client.username, client.grounds.slugs
    items = client.rng.sample(list(slugs), client.rng.randint(1, 2))
    order = {"order": {"items": items, "user_id": username}}
    leg = Leg(username, -sum(slugs[slug] for slug in items))
    answer = await client.send("benefit order", "POST", "/api/orders", order)
    client.doubt(answer, leg)
    if answer.is_done:
        order_id = int(answer.body["order"]["order_id"])
        total = round(answer.body["order"]["data"]["total"] * 100)
        client.expect(total == -leg.amount, answer, "the total is not that of the prices")
        client.journal.add("benefit_orders", order_id)
        client.journal.move(f"order:{order_id}", leg)
        client.note(answer, Wrote(f"order:{order_id}", "approved", frozenset(items)))
        if client.reads_back():
            await reads.see_shopper(client)


async def order(client: Client) -> None:
    """Place an order, and cancel some at once: the others are soon settled."""
    [product_id] = client.rng.sample(list(client.grounds.prices), 1)
    await order_product(client, product_id, client.grounds.prices[product_id])


async def order_product(client: Client, product_id: int, price: int) -> Answer:
    """Order a product that has this price."""
    quantity = client.rng.randint(1, MOST_ITEMS)
    reference = client.reference("order")
    wanted: dict[str, Any] = {
        "items": [{"productId": product_id, "quantity": quantity}],
        **reference,
    }
    legs: tuple[Leg, ...] = ()
    if client.rng.random() < WITH_USER:
        wanted["userId"] = client.any_user()
        legs = (Leg(wanted["userId"], -price * quantity),)
    answer = await client.send("order", "POST", "/orders", wanted)
    client.doubt(answer, *legs)
    if answer.is_done:
        made = answer.body
        client.expect(made["amountCents"] == price * quantity, answer, "it has another price")
        client.journal.add("orders", made["id"])
        client.journal.refer("order", made["id"], reference)
        client.journal.move(f"order:{made['id']}", *legs)
        client.note(answer, Wrote(f"order:{made['id']}", "pending"))
        if client.rng.random() < CANCELLED:
            await _cancel(client, made["id"])
        if client.reads_back():
            await reads.see_order(client)
    return answer


async def cancel_order(client: Client) -> None:
    """Cancel an order, or be told that it was settled.

    They are settled soon, so some are cancelled before the client that places them is answered.
    """
    order_id = client.recent("orders")
    if order_id is None:
        return
    if client.rng.random() < GUESSED:
        order_id = max(client.journal.orders) + client.rng.randint(1, NEXT_ORDERS)
    await _cancel(client, order_id)


async def _cancel(client: Client, order_id: int) -> None:
    document = f"order:{order_id}"
    answer = await client.send("order cancellation", "POST", f"/orders/{order_id}/cancel")
    if answer.is_done or answer.status == NO_ANSWER:
        client.note(answer, Wrote(document, "cancelled"))
    else:
        note_refusal(client, answer, document)
    if answer.is_done:
        client.journal.add("cancelled", order_id)


async def refund(client: Client) -> None:
    """Refund an order of either shop, or a part of it."""
    order_id = client.recent(client.rng.choice(("orders", "benefit_orders")))
    if order_id is None:
        return
    document = f"order:{order_id}"
    paid = client.journal.legs[document]
    body: dict[str, Any] = client.reference("refund")
    most = -sum(leg.amount for leg in paid)
    if most and client.rng.random() < IN_PART:
        body["amountCents"] = client.rng.randint(1, most)
    legs = tuple(Leg(leg.user, body.get("amountCents", most)) for leg in paid)
    answer = await client.send("refund", "POST", f"/orders/{order_id}/refunds", body)
    client.doubt(answer, *legs)
    if answer.is_done:
        refund_id, amount = answer.body["id"], answer.body["amountCents"]
        is_right = answer.body["orderId"] == order_id and amount == body.get("amountCents", amount)
        client.expect(is_right, answer, "it is not the refund that was asked for")
        client.journal.add("refunds", refund_id)
        client.journal.refunded[order_id] += 1
        client.journal.refer("refund", refund_id, body)
        client.journal.move(f"refund:{refund_id}", *(Leg(leg.user, amount) for leg in paid))
        client.note(answer, Refunded(order_id, refund_id))
        if client.reads_back():
            await reads.see_document(client, "order", order_id)
    else:
        note_refusal(client, answer, document)


def note_refusal(client: Client, answer: Answer, document: str) -> None:
    """Note the status of the document that a refusal tells, if it tells one."""
    if answer.is_refused and (status := answer.body["details"].get("status")):
        # Of an order that is approved, it does not tell how much is refunded.
        client.note(answer, SawDocument(document, status, or_later=status == "approved"))
