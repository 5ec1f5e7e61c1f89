"""What the clients of a drill do with invoices and transfers."""

from typing import Any

from rowlock.ops.drill import reads
from rowlock.ops.drill.clients import NO_ANSWER, Client
from rowlock.ops.drill.journal import Leg, SawDocument, Wrote
from rowlock.ops.drill.sales import note_refusal

HIGHEST_INVOICE = 10_000
HIGHEST_TRANSFER = 20_000
TOO_MUCH = 10**12  # more than any user has
TOO_HIGH = 0.1  # of the transfers
MOST_INVOICES = 4  # in a batch
UNKNOWN_USER = 2**40


async def issue_invoice(client: Client) -> None:
    """Issue an invoice."""
    invoice = _invoice(client)
    answer = await client.send("invoice", "POST", "/invoices", invoice)
    if answer.is_done:
        _note_invoice(client, answer.body, invoice)
        client.note(answer, Wrote(f"invoice:{answer.body['id']}", "pending"))


async def issue_invoices(client: Client) -> None:
    """Issue several invoices at once, one of them for an unknown user."""
    count = client.rng.randint(1, MOST_INVOICES)
    parts = [_invoice(client, has_reference=number > 0) for number in range(count)]
    parts.append(_invoice(client) | {"user_id": UNKNOWN_USER})
    client.rng.shuffle(parts)
    answer = await client.send("invoices", "POST", "/invoices/batch", {"invoices": parts})
    if not answer.is_done:
        return
    outcomes = answer.body["outcomes"]
    client.expect(len(outcomes) == len(parts), answer, "not every invoice has its outcome")
    for part, outcome in zip(parts, outcomes, strict=False):
        if "invoice" in outcome:
            _note_invoice(client, outcome["invoice"], part)
            client.note(answer, Wrote(f"invoice:{outcome['invoice']['id']}", "pending"))
        else:
            is_right = part["user_id"] == UNKNOWN_USER or "reference" in part
            client.expect(is_right, answer, f"{part} was refused")


def _invoice(client: Client, *, has_reference: bool = True) -> dict[str, Any]:
    return {
        "user_id": client.any_user(),
        "amount": client.rng.randint(1, HIGHEST_INVOICE),
        "label": f"Drill {client.number}",
        **(client.reference("invoice") if has_reference else {}),
    }


def _note_invoice(client: Client, made: dict[str, Any], wanted: dict[str, Any]) -> None:
    client.journal.add("invoices", made["id"])
    client.journal.refer("invoice", made["id"], wanted)
    client.journal.owed[made["id"]] = Leg(wanted["user_id"], wanted["amount"])


async def pay_invoice(client: Client) -> None:
    """Pay an invoice, once."""
    invoice_id = client.recent("invoices")
    if invoice_id is None:
        return
    document, owed = f"invoice:{invoice_id}", client.journal.owed[invoice_id]
    answer = await client.send("payment", "POST", f"/invoices/{invoice_id}/pay")
    client.doubt(answer, owed)
    if answer.is_done or answer.status == NO_ANSWER:
        client.note(answer, Wrote(document, "paid"))
    elif answer.body["error"] == "invoice_already_paid":
        client.note(answer, SawDocument(document, "paid", or_later=True))
    else:
        note_refusal(client, answer, document)
    if answer.is_done:
        client.journal.add("paid", invoice_id)
        client.journal.move(document, owed)
        if client.reads_back():
            await reads.see_user(client, answer.body["user_id"])


async def void_invoice(client: Client) -> None:
    """Make a pending invoice void."""
    invoice_id = client.recent("invoices")
    if invoice_id is None:
        return
    document = f"invoice:{invoice_id}"
    answer = await client.send("voiding", "POST", f"/invoices/{invoice_id}/void")
    if answer.is_done or answer.status == NO_ANSWER:
        client.note(answer, Wrote(document, "void"))
    else:
        note_refusal(client, answer, document)
    if answer.is_done:
        client.journal.add("voided", invoice_id)


async def reverse_invoice(client: Client) -> None:
    """Take a payment back."""
    invoice_id = client.recent(client.rng.choice(("paid", "invoices")))
    if invoice_id is None:
        return
    document, owed = f"invoice:{invoice_id}", client.journal.owed[invoice_id]
    back = owed._replace(amount=-owed.amount)
    answer = await client.send("reversal", "POST", f"/invoices/{invoice_id}/reverse")
    client.doubt(answer, back)
    if answer.is_done or answer.status == NO_ANSWER:
        client.note(answer, Wrote(document, "reversed"))
    else:
        note_refusal(client, answer, document)
    if answer.is_done:
        client.journal.add("reversed", invoice_id)
        client.journal.move(f"reversal:{invoice_id}", back)
        if client.reads_back():
            await reads.see_user(client, answer.body["user_id"])


async def transfer(client: Client) -> None:
    """Let one of a few users pay another one; other clients do the opposite at the same time."""
    from_user_id = client.any_user()
    to_user_id = client.any_user()
    if from_user_id == to_user_id:
        return
    is_too_high = client.rng.random() < TOO_HIGH
    amount = TOO_MUCH if is_too_high else client.rng.randint(1, HIGHEST_TRANSFER)
    wanted = {
        "from_user_id": from_user_id,
        "to_user_id": to_user_id,
        "amount": amount,
        "label": f"Drill {client.number}",
        **client.reference("transfer"),
    }
    legs = (Leg(from_user_id, -amount), Leg(to_user_id, amount))
    answer = await client.send("transfer", "POST", "/transfers", wanted)
    client.doubt(answer, *legs)
    if answer.is_done:
        transfer_id = answer.body["id"]
        client.journal.add("transfers", transfer_id)
        client.journal.refer("transfer", transfer_id, wanted)
        client.journal.move(f"transfer:{transfer_id}", *legs)
        client.note(answer, Wrote(f"transfer:{transfer_id}", "made"))
        if client.reads_back():
            await reads.see_user(client, client.rng.choice((from_user_id, to_user_id)))
