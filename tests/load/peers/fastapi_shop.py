"""The peer in Python: FastAPI, SQLAlchemy 2 and asyncpg, one transaction per request.

Serves the benefit orders and the payment of invoices with the answers of the service, writing the
same rows under the same locks: what a careful team would write with these libraries. Usage:
DATABASE_URL=postgresql://… PORT=… fastapi_shop.py
"""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy import BigInteger, DateTime, ForeignKey, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

POOL_CONNECTIONS = 10
ACTOR = "anonymous"

engine = create_async_engine(
    os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"),
    pool_size=POOL_CONNECTIONS,
    max_overflow=0,
)
sessions = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


# --- tables -------------------------------------------------------------------------------------


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012
        int: BigInteger,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
    }


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str]
    balance: Mapped[int]


class Product(Base):
    __tablename__ = "products"
    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str]
    price: Mapped[int]


class OrderItem(Base):
    __tablename__ = "order_items"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    product_id: Mapped[int]
    quantity: Mapped[int]
    price: Mapped[int]


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int]
    status: Mapped[str]
    amount: Mapped[int]
    settled_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))
    items: Mapped[list[OrderItem]] = relationship()


class OwnedProduct(Base):
    __tablename__ = "owned_products"
    user_id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(primary_key=True)


class Invoice(Base):
    __tablename__ = "invoices"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int]
    amount: Mapped[int]
    label: Mapped[str]
    status: Mapped[str]
    created_at: Mapped[datetime]
    paid_at: Mapped[datetime | None]


class LedgerEntry(Base):
    __tablename__ = "ledger_entries"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int]
    amount: Mapped[int]
    balance_after: Mapped[int]
    reason: Mapped[str]
    reference: Mapped[str]
    document_kind: Mapped[str]
    document_id: Mapped[int]
    contra: Mapped[str]
    actor: Mapped[str] = mapped_column(default=ACTOR)


class OutboxEvent(Base):
    __tablename__ = "outbox"
    position: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    subject: Mapped[str]
    payload: Mapped[dict[str, Any]]
    actor: Mapped[str] = mapped_column(default=ACTOR)


# --- bodies -------------------------------------------------------------------------------------


class OrderIn(BaseModel):
    items: list[str] = Field(min_length=1, max_length=100)
    user_id: str


class OrderBody(BaseModel):
    order: OrderIn


class InvoiceOut(BaseModel):
    id: int
    user_id: int
    amount: int
    label: str
    status: str
    created_at: datetime
    paid_at: datetime | None


# --- routes -------------------------------------------------------------------------------------


async def open_session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(open_session)]


@app.exception_handler(HTTPException)
async def show_error(_: Request, error: HTTPException) -> JSONResponse:
    return JSONResponse({"error": error.detail}, error.status_code)


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/api/orders")
async def place_order(body: OrderBody, session: SessionDep) -> dict[str, Any]:
    slugs = body.order.items
    user = await session.scalar(
        select(User).where(User.username == body.order.user_id).with_for_update(key_share=True)
    )
    if user is None:
        raise HTTPException(404, "user_not_found")
    found = await session.scalars(select(Product).where(Product.slug.in_(slugs)))
    catalogue = {product.slug: product for product in found}
    if not catalogue.keys() >= set(slugs):
        raise HTTPException(400, "products_not_found")
    products = [catalogue[slug] for slug in slugs]
    ids = {product.id for product in products}
    owned = await session.scalar(
        select(OwnedProduct.product_id)
        .where(OwnedProduct.user_id == user.id, OwnedProduct.product_id.in_(ids))
        .limit(1)
    )
    if owned is not None or len(ids) < len(slugs):
        raise HTTPException(400, "products_already_purchased")
    total = sum(product.price for product in products)
    if user.balance < total:
        raise HTTPException(400, "insufficient_balance")

    user.balance -= total
    items = [OrderItem(product_id=each.id, quantity=1, price=each.price) for each in products]
    order = Order(user_id=user.id, status="approved", amount=total, items=items)
    session.add(order)
    session.add_all(OwnedProduct(user_id=user.id, product_id=each.id) for each in products)
    await session.flush()
    reference = f"order:{order.id}"
    session.add(_entry(user, -total, "benefit_order", ("order", order.id), "sales"))
    event = {
        "order_id": order.id,
        "user_id": user.id,
        "items": [
            {"product_id": each.id, "slug": each.slug, "price": each.price} for each in products
        ],
        "total": total,
        "balance_after": user.balance,
    }
    session.add(OutboxEvent(name="benefit_order.placed", subject=reference, payload=event))
    await session.commit()
    data = {"items": slugs, "total": total / 100}
    return {"order": {"order_id": str(order.id), "data": data}}


@app.post("/invoices/{invoice_id}/pay")
async def pay_invoice(invoice_id: int, session: SessionDep) -> InvoiceOut:
    invoice = await session.get(Invoice, invoice_id, with_for_update={"key_share": True})
    if invoice is None:
        raise HTTPException(404, "invoice_not_found")
    if invoice.status == "paid":
        raise HTTPException(409, "invoice_already_paid")
    user = await session.get_one(User, invoice.user_id, with_for_update={"key_share": True})

    user.balance += invoice.amount
    invoice.status = "paid"
    invoice.paid_at = datetime.now(UTC)
    reference = f"invoice:{invoice.id}"
    answer = InvoiceOut.model_validate(invoice, from_attributes=True)
    event = answer.model_dump(mode="json", exclude={"status"})
    event |= {"invoice_id": event.pop("id"), "invoice_created_at": event.pop("created_at")}
    event["balance_after"] = user.balance
    session.add(_entry(user, invoice.amount, "invoice", ("invoice", invoice.id), "payables"))
    session.add(OutboxEvent(name="invoice.paid", subject=reference, payload=event))
    await session.commit()
    return answer


def _entry(
    user: User, amount: int, reason: str, document: tuple[str, int], contra: str
) -> LedgerEntry:
    kind, number = document
    return LedgerEntry(
        user_id=user.id,
        amount=amount,
        balance_after=user.balance,
        reason=reason,
        reference=f"{kind}:{number}",
        document_kind=kind,
        document_id=number,
        contra=contra,
    )


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
