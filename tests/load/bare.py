"""The bare handler: our lanes and transactions behind aiohttp alone, on DATABASE_URL and PORT.

No middlewares, no schemas, no keys, no metrics, no log. What the service takes beyond this is what
its HTTP layer costs.
"""

import os
from typing import Any

import orjson
import uvloop
from aiohttp import web

from rowlock.accounts import Accounts
from rowlock.benefits import Benefits
from rowlock.benefits.rules import PlaceOrder
from rowlock.engine.database import Database
from rowlock.http.answers import major_units
from rowlock.http.errors import status_of
from rowlock.invoices import Invoices
from rowlock.invoices.rules import PayInvoice
from rowlock.origin import Origin
from rowlock.rejections import Rejection
from rowlock.settings import Settings

JSON = {"Content-Type": "application/json; charset=utf-8"}
ORIGIN = Origin(None, "anonymous")


class Shop:
    """The three routes that are measured."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._accounts = Accounts(database, settings.batches)
        self._benefits = Benefits(
            database, settings.batches, settings.benefits, settings.money, self._accounts
        )
        self._major_units = major_units(settings.money.decimals)
        self._invoices = Invoices(database, settings.batches)

    async def get_user(self, request: web.Request) -> web.Response:
        user = await self._accounts.find.submit(int(request.match_info["id"]))
        assert user is not None
        user_id, first_name, last_name, balance = user
        names = {"first_name": first_name, "last_name": last_name}
        return reply({"user_id": user_id, **names, "balance": balance})

    async def place_order(self, request: web.Request) -> web.Response:
        order = orjson.loads(await request.read())["order"]
        command = PlaceOrder(order["user_id"], tuple(order["items"]), ORIGIN)
        placed = await self._benefits.place_order.submit(command)
        if isinstance(placed, Rejection):
            return refuse(placed, request.path)
        data = {"items": command.items, "total": self._major_units(placed.purchase.total)}
        return reply({"order": {"order_id": str(placed.id), "data": data}})

    async def pay_invoice(self, request: web.Request) -> web.Response:
        paid = await self._invoices.pay.submit(PayInvoice(int(request.match_info["id"]), ORIGIN))
        return refuse(paid, request.path) if isinstance(paid, Rejection) else reply(paid)


async def get_health(_: web.Request) -> web.Response:
    return reply({"status": "alive"})


def reply(data: Any, status: int = 200) -> web.Response:
    body = orjson.dumps(data, option=orjson.OPT_UTC_Z)
    return web.Response(body=body, status=status, headers=JSON)


def refuse(rejection: Rejection, path: str) -> web.Response:
    return reply({"error": rejection.code}, status_of(rejection, path))


async def create_app() -> web.Application:
    settings = Settings.from_environment()
    database = Database(os.environ["DATABASE_URL"], settings.database)
    shop = Shop(await database.__aenter__(), settings)

    async def close(_: web.Application) -> None:
        await database.__aexit__(None, None, None)

    app = web.Application()
    app.on_cleanup.append(close)
    app.router.add_get("/healthz", get_health)
    app.router.add_get("/user/{id}", shop.get_user)
    app.router.add_post("/api/orders", shop.place_order)
    app.router.add_post("/invoices/{id}/pay", shop.pay_invoice)
    return app


if __name__ == "__main__":
    web.run_app(
        create_app(),
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )
