"""What the clients of a drill do where no money moves: bookings, deployments and events."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from rowlock.ops.drill.clients import Answer, Client

MOVES = ("building", "deploying", "done", "failed")
FIRST_BOOKING = datetime(2030, 1, 1, tzinfo=UTC)
BOOKING_MINUTES = 365 * 24 * 60


async def book(client: Client) -> None:
    """Book a service."""
    await book_service(client, client.rng.choice(client.grounds.service_ids))


async def book_service(client: Client, service_id: str) -> Answer:
    """Book this service."""
    answer = await client.send("booking", "POST", "/service-orders", _booking(client, service_id))
    if answer.is_done:
        client.journal.add("bookings", int(answer.body["id"]))
    return answer


async def rebook(client: Client) -> None:
    """Move a booking."""
    booking_id = client.recent("bookings")
    if booking_id is None:
        return
    service_id = client.rng.choice(client.grounds.service_ids)
    path, booking = f"/service-orders/{booking_id}", _booking(client, service_id)
    if (await client.send("rebooking", "PUT", path, booking)).is_done:
        client.journal.changes[booking_id] += 1


async def unbook(client: Client) -> None:
    """Delete a booking."""
    booking_id = client.recent("bookings")
    if booking_id is None:
        return
    path = f"/service-orders/{booking_id}"
    if (await client.send("cancellation", "DELETE", path)).is_done:
        client.journal.add("deleted", booking_id)


def _booking(client: Client, service_id: str) -> dict[str, Any]:
    at = FIRST_BOOKING + timedelta(minutes=client.rng.randrange(BOOKING_MINUTES))
    return {
        "datetime": at.isoformat(),
        "totalfee": client.rng.getrandbits(48),  # no rebooking leaves it as it was
        "services": [service_id],
    }


async def deploy(client: Client) -> None:
    """Deploy a project."""
    project_id = client.rng.choice(client.grounds.project_ids)
    path = f"/projects/{project_id}/deployment"
    answer = await client.send("deployment", "POST", path, service="projects")
    if answer.is_done:
        client.journal.add("deployments", answer.body["id"])


async def abort(client: Client) -> None:
    """Cancel a deployment."""
    deployment_id = client.recent("deployments")
    if deployment_id is None:
        return
    path = f"/deployments/{deployment_id}/cancel"
    if (await client.send("abort", "POST", path, service="projects")).is_done:
        client.journal.moves.add((deployment_id, "cancelled"))


async def report(client: Client) -> None:
    """Report how a deployment goes on, as its builder does."""
    deployment_id = client.recent("deployments")
    status = client.rng.choice(MOVES)
    if deployment_id is None:
        return
    path, body = "/deployment/webhook", {"id": deployment_id, "status": status}
    if (await client.send("webhook", "POST", path, body, service="projects")).is_done:
        client.journal.moves.add((deployment_id, status))


async def post_event(client: Client) -> None:
    """Post an event past the outbox."""
    event_id = str(uuid.UUID(int=client.rng.getrandbits(128)))
    subject = f"drill:{event_id}"
    event = {
        "name": "drill.posted",
        "subject": subject,
        "payload": {"client": client.number},
        "event_id": event_id,
    }
    if (await client.send("event", "POST", "/events", event, service="events")).is_done:
        client.journal.posted.add(subject)
