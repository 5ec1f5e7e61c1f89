"""HTTP ↔ command: users and their ledger."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from rowlock.accounts import commands
from rowlock.accounts.rules import BALANCE_LIMIT, CreateUser
from rowlock.batching import Lane, group_commit, group_read
from rowlock.database import Connection, Database
from rowlock.exceptions import UserNotFound
from rowlock.queries import queries
from rowlock.settings import Settings
from rowlock.web.bodies import path_id, read_query
from rowlock.web.docs import array, choice, describe, instant, integer, record, text
from rowlock.web.pages import PageQuery, cut
from rowlock.web.replies import reply
from rowlock.web.service import DATABASE, State

ROUTES = web.RouteTableDef()

FIND_USER: web.AppKey[Lane[int, Any]] = web.AppKey("find_user")
CREATE_USER: web.AppKey[Lane[CreateUser, bool]] = web.AppKey("create_user")

PAGE_QUERY = PageQuery()

USER = record(
    "User",
    user_id=integer(1),
    first_name=text("Ada"),
    last_name=text("Lovelace"),
    balance=integer(241_817, minimum=0),
)
ENTRY = record(
    "LedgerEntry",
    id=integer(7),
    amount=integer(11_350, minimum=-BALANCE_LIMIT),
    balance_after=integer(253_167, minimum=0),
    reason=choice("invoice", "benefit_order", "order", "opening_balance"),
    reference=text("invoice:1"),
    created_at=instant(),
)


def state(database: Database, settings: Settings) -> State:
    """Return what this feature keeps."""
    return {
        FIND_USER: group_read("find_user", database, _find_users, settings),
        CREATE_USER: group_commit("create_user", database, commands.create_users, settings),
    }


async def _find_users(connection: Connection, user_ids: Sequence[int]) -> dict[int, Any]:
    rows = await queries.accounts.find_users(connection, user_ids=user_ids)
    return {row["id"]: row for row in rows}


@ROUTES.get("/user/{id}")
@describe({200: USER}, UserNotFound)
async def get_user(request: web.Request) -> web.Response:
    """Answer with a user and the balance in minor units."""
    user = await _existing_user(request)
    return reply(
        {
            "user_id": user["id"],
            "first_name": user["first_name"],
            "last_name": user["last_name"],
            "balance": user["balance"],
        }
    )


@ROUTES.get("/user/{id}/ledger")
@describe({200: array(ENTRY)}, UserNotFound, query=PAGE_QUERY)
async def list_ledger(request: web.Request) -> web.Response:
    """Answer with a page of the user's ledger, newest first, in minor units."""
    query = read_query(request, PAGE_QUERY)
    user = await _existing_user(request)
    async with request.app[DATABASE].reader() as connection:
        rows = await queries.accounts.list_ledger(
            connection, user_id=user["id"], before=query["before"], page_size=query["limit"] + 1
        )
    page, headers = cut(request, rows, query["limit"])
    return reply([dict(row) for row in page], headers=headers)


async def _existing_user(request: web.Request) -> Any:
    user_id = path_id(request)
    user = await request.app[FIND_USER].submit(user_id)
    if user is None:
        raise UserNotFound(f"There is no user {user_id}.", user_id=user_id)
    return user
