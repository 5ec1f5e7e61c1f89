"""Sell through Rowlock from a FastAPI service: pip install fastapi uvicorn rowlock.

    COMMERCE_URL=http://localhost:4000 uvicorn --app-dir docs/examples selling_service:app

    curl localhost:8000/purchases/1001 -X PUT -H 'Content-Type: application/json' \
        -d '{"user_id": 1, "lines": [{"product_id": 1, "quantity": 2}]}'

The shop has numbers of its own for its purchases. Such a number is the Idempotency-Key of the
order, so that a purchase is one order, however often its request comes or is sent again. It is the
order's reference, too, by which the shop finds it again.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from pydantic import BaseModel, Field

from rowlock.client import Commerce, Line, Options, OutcomeUnknown, Policy, Refused, Unavailable
from rowlock.client.records import Order

URL = os.environ.get("COMMERCE_URL", "http://localhost:4000")
TOKEN = os.environ.get("ROWLOCK_COMMERCE_TOKEN")
# A buyer waits for no longer than this, with all attempts.
POLICY = Policy(deadline_s=5.0, attempt_timeout_s=2.0)
# Refusals for which the buyer is told the reason. All others are a fault of this service.
TOLD = {
    "products_not_found": 404,
    "unknown_user": 404,
    "order_total_too_large": 422,
    # Another purchase has the number.
    "idempotency_key_reused": 409,
    "reference_taken": 409,
}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one client, with its connections, for as long as the service runs."""
    async with Commerce(URL, token=TOKEN, policy=POLICY) as commerce:
        app.state.commerce = commerce
        yield


app = FastAPI(lifespan=lifespan)


def commerce_of(request: Request) -> Commerce:
    """Return the client."""
    commerce: Commerce = request.app.state.commerce
    return commerce


class PurchaseLine(BaseModel):
    """So many of a product."""

    product_id: int = Field(ge=1)
    quantity: int = Field(ge=1)


class Purchase(BaseModel):
    """What a user buys."""

    user_id: int = Field(ge=1)
    lines: list[PurchaseLine] = Field(min_length=1, max_length=100)


class Placed(BaseModel):
    """The order that it became."""

    order_id: int
    status: str
    amount_cents: int


async def place(commerce: Commerce, purchase: Purchase, options: Options) -> Order:
    """Place an order, or find the one that was placed. Raises CallFailed."""
    reference = options["idempotency_key"]
    lines = [Line(line.product_id, line.quantity) for line in purchase.lines]
    try:
        return await commerce.orders.place(
            lines, user_id=purchase.user_id, reference=reference, **options
        )
    except Refused as error:
        if error.code != "reference_taken":
            raise
        # An idempotency key is kept for a day, a reference for ever.
        [order] = await commerce.orders.list(reference=reference, fresh=True).first_page()
        if order.user_id != purchase.user_id:
            raise
        return order


@app.put("/purchases/{number}")
async def buy(
    number: int,
    purchase: Purchase,
    response: Response,
    commerce: Annotated[Commerce, Depends(commerce_of)],
    traceparent: Annotated[str | None, Header()] = None,
) -> Placed:
    """Place the order of a purchase, once."""
    options: Options = {"idempotency_key": f"purchase-{number}"}
    if traceparent is not None:  # the trace of the buyer's request goes on in Rowlock
        options["traceparent"] = traceparent
    try:
        order = await place(commerce, purchase, options)
    except Refused as error:
        raise HTTPException(TOLD.get(error.code, 500), error.code) from error
    except Unavailable as error:  # nothing was ordered
        raise HTTPException(503, "try_later", {"Retry-After": "1"}) from error
    except OutcomeUnknown as error:  # the same request will tell
        raise HTTPException(504, "ask_again", {"Retry-After": "1"}) from error
    response.status_code = 201
    return Placed(order_id=order.id, status=order.status, amount_cents=order.amount_cents)
