"""Reading users: one function per lane, and lists."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rowlock.accounts import names
from rowlock.accounts.people import read_person
from rowlock.accounts.rules import Listed, ListPosition, User
from rowlock.engine.database import Connection
from rowlock.engine.statements import queries

if TYPE_CHECKING:
    from rowlock.engine.typed.accounts import SearchUsersByBothRow, SearchUsersByNameRow

# Of users whose addresses match, so few are read at once that their names are compared one by one.
FEW = 1000
# Else the users whose names match are looked at one by one, so many for a page.
WALK = 5000


async def find_users(connection: Connection, user_ids: Sequence[int]) -> dict[int, User]:
    """Return those of the users that exist, by id."""
    rows = await queries.accounts.find_users(connection, user_ids=user_ids)
    return {
        row["id"]: User(row["id"], row["first_name"], row["last_name"], row["balance"])
        for row in rows
    }


async def list_users(connection: Connection, before: int, page_size: int) -> Listed:
    """Return a page of users, newest first: those with ids below `before`."""
    rows = await queries.accounts.list_users(connection, before=before, page_size=page_size + 1)
    people = [read_person(row) for row in rows[:page_size]]
    return Listed(people, ListPosition("", people[-1].id) if len(rows) > page_size else None)


async def search_users(
    connection: Connection,
    username: str | None,
    email: str | None,
    after: ListPosition | None,
    page_size: int,
) -> Listed:
    """Return a page of the users whose names and addresses begin so, in the order of their keys.

    The order is that of the names, if a beginning of a username is given. `after` is where the page
    starts: a position in this list. By both, a page may have fewer users than there are: see WALK.
    """
    by_name = names.beginning(email or "") if username is None else names.beginning(username)
    first_key, after_id = by_name.first_key, 0
    if after is not None:
        first_key, after_id = after.key, after.user_id
    # Users without a key stand where the key of the text would.
    spellings = by_name.spellings if first_key == by_name.first_key else ()
    if username is None or email is None:
        search = (
            queries.accounts.search_users_by_email
            if username is None
            else queries.accounts.search_users_by_name
        )
        rows = await search(
            connection,
            spellings=spellings,
            first_key=first_key,
            end_key=by_name.end_key,
            after_id=after_id,
            page_size=page_size + 1,
        )
        return _page(rows, page_size, None)
    by_email = names.beginning(email)
    looked_at = await queries.accounts.search_users_by_both(
        connection,
        spellings=spellings,
        first_key=first_key,
        end_key=by_name.end_key,
        after_id=after_id,
        email_spellings=by_email.spellings,
        first_email_key=by_email.first_key,
        end_email_key=by_email.end_key,
        few=FEW,
        walk=WALK,
        page_size=page_size + 1,
    )
    ended = next((_position(row) for row in looked_at if not row["is_match"]), None)
    return _page([row for row in looked_at if row["is_match"]], page_size, ended)


def _page(
    rows: "Sequence[SearchUsersByNameRow | SearchUsersByBothRow]",
    page_size: int,
    ended: ListPosition | None,
) -> Listed:
    """Return the page, of which there are `rows`, and one more if there is another page.

    Or the search has `ended` before it had found so many, and goes on there.
    """
    page = rows[:page_size]
    end = _position(page[-1]) if len(rows) > page_size else ended
    return Listed([read_person(row) for row in page], end)


def _position(row: "SearchUsersByNameRow | SearchUsersByBothRow") -> ListPosition:
    return ListPosition(row["position"], row["id"])
