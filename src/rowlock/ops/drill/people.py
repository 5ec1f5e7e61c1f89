"""What the clients of a drill do with users' names: creating, changing and removing them.

Each client changes only users that it has created, so it knows what they are called.
"""

from http import HTTPStatus
from typing import Any

from rowlock.ops.drill.clients import Answer, Client
from rowlock.ops.drill.journal import Leg, Opened

HIGHEST_OPENING = 50_000
ANONYMOUS = "anonymous-"
NAMES = ("email", "first_name", "last_name")
EMPTY = {"email": None, "first_name": "", "last_name": ""}


async def create_user(client: Client) -> None:
    """Create a user, with an opening balance or without."""
    username = f"drill-{client.number}-{client.rng.getrandbits(64):x}"
    opening = client.rng.choice((0, client.rng.randint(1, HIGHEST_OPENING)))
    wanted = {"username": username, **_names(client), "opening_balance": opening}
    answer = await client.send("new user", "POST", "/users", wanted)
    client.own["creation"] = answer.request
    _note(client, answer, wanted)
    if answer.is_done:
        user_id = answer.body["user_id"]
        client.journal.add("users", user_id)
        client.journal.move(f"user:{user_id}", Leg(user_id, opening))
        client.journal.happened["user.created", f"user:{user_id}"] += 1
        client.note(answer, Opened(username, user_id))


async def change_user(client: Client) -> None:
    """Change a user's names, and the address."""
    user = client.own.get("user")
    if user is None:
        return
    names = _names(client)
    answer = await client.send("change of user", "PATCH", f"/users/{user['user_id']}", names)
    if user["anonymised_at"]:
        client.expect(answer.status == HTTPStatus.CONFLICT, answer, "the user was anonymised")
        return
    _note(client, answer, {"username": user["username"], **names})
    if answer.is_done:
        client.journal.happened["user.changed", f"user:{user['user_id']}"] += 1


async def anonymise_user(client: Client) -> None:
    """Remove a user's names, and ask for the answer that had shown them."""
    user = client.own.get("user")
    if user is None or user["anonymised_at"]:
        return
    user_id = user["user_id"]
    answer = await client.send("anonymisation", "POST", f"/users/{user_id}/anonymise")
    nameless = {"username": f"{ANONYMOUS}{user_id}", **EMPTY}
    _note(client, answer, nameless)
    if answer.is_done:
        client.expect(answer.body["anonymised_at"] is not None, answer, "it has no time")
        client.journal.happened["user.anonymised", f"user:{user_id}"] += 1
        again = await client.repeat(client.own["creation"])
        if again.is_done:
            shown = {name: again.body[name] for name in nameless}
            client.expect(shown == nameless, again, "the kept answer shows names")


def _names(client: Client) -> dict[str, Any]:
    """Return an address and names that no user has."""
    unique = f"{client.rng.getrandbits(64):x}"
    return {
        "email": f"{unique}@example.com",
        "first_name": f"First {unique}",
        "last_name": f"Last {unique}",
    }


def _note(client: Client, answer: Answer, due: dict[str, Any]) -> None:
    """Note what the user is called now; after a lost answer the client lets the user be."""
    client.own["user"] = answer.body if answer.is_done else None
    if answer.is_done:
        names = {name: answer.body[name] for name in ("username", *NAMES)}
        expected = {name: due[name] for name in names}
        client.expect(names == expected, answer, f"the user must be {expected}")
        client.journal.people[answer.body["user_id"]] = (due["username"], *(due[n] for n in NAMES))
