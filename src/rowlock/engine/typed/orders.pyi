# Made by `rowlock sql stubs` of the headers in sql/orders/
# A test compares.

from datetime import datetime, timedelta
from typing import Never, TypedDict

from rowlock.engine.statements import Array, Executor, Statement

class CreateItemsRow(TypedDict):
    id: int

class CreateItems(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        order_ids: Array[int],
        product_ids: Array[int],
        quantities: Array[int],
        prices: Array[int],
    ) -> list[CreateItemsRow]: ...

class CreateOrdersRow(TypedDict):
    id: int

class CreateOrders(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        user_ids: Array[int | None],
        amounts: Array[int],
        request_ids: Array[str | None],
    ) -> list[CreateOrdersRow]: ...

class FindOrdersRow(TypedDict):
    id: int
    status: str
    amount: int
    reason: str | None
    item_ids: list[int]
    product_ids: list[int]
    quantities: list[int]

class FindOrders(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        order_ids: Array[int],
    ) -> list[FindOrdersRow]: ...

class FindPendingRow(TypedDict):
    id: int

class FindPending(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        after: int,
        page_size: int,
    ) -> list[FindPendingRow]: ...

class FindPricesRow(TypedDict):
    id: int
    price: int

class FindPrices(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        product_ids: Array[int],
    ) -> list[FindPricesRow]: ...

class ListApprovedOrdersRow(TypedDict):
    id: int

class ListApprovedOrders(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        before: int,
        page_size: int,
    ) -> list[ListApprovedOrdersRow]: ...

class ListOrdersRow(TypedDict):
    id: int

class ListOrders(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        before: int,
        page_size: int,
    ) -> list[ListOrdersRow]: ...

class ListPendingOrdersRow(TypedDict):
    id: int

class ListPendingOrders(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        before: int,
        page_size: int,
    ) -> list[ListPendingOrdersRow]: ...

class ListProductsRow(TypedDict):
    id: int
    name: str
    price: int

class ListProducts(Statement):
    async def __call__(self, connection: Executor) -> list[ListProductsRow]: ...

class ListRefusedOrdersRow(TypedDict):
    id: int

class ListRefusedOrders(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        before: int,
        page_size: int,
    ) -> list[ListRefusedOrdersRow]: ...

class LockPendingRow(TypedDict):
    id: int
    user_id: int | None
    amount: int
    attempts: int
    request_id: str | None
    created_at: datetime

class LockPending(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        order_ids: Array[int],
    ) -> list[LockPendingRow]: ...

class NotifyCreatedRow(TypedDict):
    notified: object

class NotifyCreated(Statement):
    async def __call__(self, connection: Executor) -> list[NotifyCreatedRow]: ...

class PostponeOrder(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        order_id: int,
        delay: timedelta,
        failures: int,
    ) -> list[Never]: ...

class SettleOrders(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        order_ids: Array[int],
        statuses: Array[str],
        reasons: Array[str | None],
    ) -> list[Never]: ...

class Orders:
    create_items: CreateItems
    create_orders: CreateOrders
    find_orders: FindOrders
    find_pending: FindPending
    find_prices: FindPrices
    list_approved_orders: ListApprovedOrders
    list_orders: ListOrders
    list_pending_orders: ListPendingOrders
    list_products: ListProducts
    list_refused_orders: ListRefusedOrders
    lock_pending: LockPending
    notify_created: NotifyCreated
    postpone_order: PostponeOrder
    settle_orders: SettleOrders
