"""Whole numbers are taken however JSON writes them; all else is refused, in words that help."""

from typing import Any

import pytest

from tests.support.contract import refusal
from tests.support.panel import SECRET
from tests.support.types import Client, Unchanged

FIELDS = {  # a body of each kind with the number 1 left out, and its route
    "user_id": ("commerce", "/invoices", b'{"user_id": %s, "amount": 1, "label": "x"}'),
    "amount": ("commerce", "/invoices", b'{"user_id": 1, "amount": %s, "label": "x"}'),
    "productId": ("commerce", "/orders", b'{"items": [{"productId": %s, "quantity": 1}]}'),
    "quantity": ("commerce", "/orders", b'{"items": [{"productId": 1, "quantity": %s}]}'),
    "userId": (
        "commerce",
        "/orders",
        b'{"items": [{"productId": 1, "quantity": 1}], "userId": %s}',
    ),
    "totalfee": (
        "commerce",
        "/service-orders",
        b'{"datetime": "2040-05-01T12:00:00Z", "totalfee": %s, "services": ["1"]}',
    ),
    "id": ("projects", "/deployment/webhook", b'{"id": %s, "status": "building"}'),
}
ONES = [b"1", b"1.0", b"1.000", b"1e0", b"1E+0", b"10e-1", b"0.1e1", b"100.0E-2"]
# As orjson reads them: beyond 64 bits as floats, which are beyond 2^53 not exact.
OTHERS = [b"1.5", b"1e-1", b"-1.0", b"9007199254740992.0", b"1e16", b"1e300", b"true", b'"1"']
OTHERS += [b"9223372036854775808", b"18446744073709551616", b"null", b"[1]", b"1.0000001"]


async def post(
    clients: dict[str, Client], field: str, number: bytes, **headers: str
) -> tuple[int, Any]:
    service, path, body = FIELDS[field]
    headers |= {"Content-Type": "application/json", "Authorization": SECRET}
    if service == "commerce":
        del headers["Authorization"]
    response = await clients[service].post(path, data=body % number, headers=headers)
    if response.status >= 400:
        await refusal(response)
    return response.status, await response.json()


@pytest.mark.parametrize("field", FIELDS)
async def test_integer__however_it_is_written__taken(
    clients: dict[str, Client], field: str
) -> None:
    answers = [
        await post(clients, field, one) for one in (ONES if field != "totalfee" else ONES[1:2])
    ]
    assert {status for status, _ in answers} <= {200, 201}
    name = {"amount": "amount", "totalfee": "totalfee", "user_id": "user_id"}.get(field, "id")
    assert all(type(answer[name]) is not float for _, answer in answers)


@pytest.mark.parametrize("field", FIELDS)
async def test_integer__not_whole_or_out_of_range__400_naming_it(
    clients: dict[str, Client], unchanged: Unchanged, field: str
) -> None:
    async with unchanged():
        for number in OTHERS:
            if (field, number) in {("userId", b"null")}:
                continue
            status, answer = await post(clients, field, number)
            assert (status, answer["error"]) == (400, "invalid_request"), number
            [where] = answer["details"]
            assert where.split(".")[-1] == field


@pytest.mark.parametrize("field", ["amount", "totalfee"])
async def test_amount__with_a_fraction__told_in_minor_units(
    clients: dict[str, Client], field: str
) -> None:
    _, answer = await post(clients, field, b"113.45")
    assert "a whole number of minor units (113.45 EUR is written 11345)" in answer["message"]
