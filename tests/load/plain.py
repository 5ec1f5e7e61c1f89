"""The plain handler: aiohttp, uvloop and orjson alone, `python tests/load/plain.py PORT`.

It parses the same order as the service and gives the same answer, with no check of anything and no
header of its own. What the service takes beyond this is what it adds around aiohttp.
"""

import sys
from typing import Any

import orjson
import uvloop
from aiohttp import web

JSON = {"Content-Type": "application/json; charset=utf-8"}
USER = {"user_id": 4242, "first_name": "Load", "last_name": "4242", "balance": 100_000_000}


async def get_health(_: web.Request) -> web.Response:
    return reply({"status": "alive"})


async def get_user(request: web.Request) -> web.Response:
    return reply(USER | {"user_id": int(request.match_info["id"])})


async def place_order(request: web.Request) -> web.Response:
    order = orjson.loads(await request.read())["order"]
    assert order["user_id"]
    data = {"items": order["items"], "total": orjson.Fragment(b"75.99")}
    return reply({"order": {"order_id": "123456", "data": data}})


def reply(data: dict[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(data), headers=JSON)


def create_app() -> web.Application:
    app = web.Application()
    app.router.add_get("/healthz", get_health)
    app.router.add_get("/user/{id}", get_user)
    app.router.add_post("/api/orders", place_order)
    return app


if __name__ == "__main__":
    web.run_app(
        create_app(),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )
