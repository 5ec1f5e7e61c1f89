# Made by `rowlock sql stubs` of the headers in sql/benefits/
# A test compares.

from typing import TypedDict

from rowlock.engine.statements import Array, Executor, Statement

class FindShoppersRow(TypedDict):
    username: str
    balance: int
    product_ids: list[str]

class FindShoppers(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        usernames: Array[str],
    ) -> list[FindShoppersRow]: ...

class FindWantedRow(TypedDict):
    user_id: int
    id: int
    slug: str
    price: int
    owned: bool

class FindWanted(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        user_ids: Array[int],
        slugs: Array[str],
    ) -> list[FindWantedRow]: ...

class ListProductsRow(TypedDict):
    id: int
    slug: str
    name: str
    price: int

class ListProducts(Statement):
    async def __call__(self, connection: Executor) -> list[ListProductsRow]: ...

class PlaceOrdersRow(TypedDict):
    id: int

class PlaceOrders(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        user_ids: Array[int],
        amounts: Array[int],
        request_ids: Array[str | None],
        item_orders: Array[int],
        item_products: Array[int],
        item_prices: Array[int],
    ) -> list[PlaceOrdersRow]: ...

class Benefits:
    find_shoppers: FindShoppers
    find_wanted: FindWanted
    list_products: ListProducts
    place_orders: PlaceOrders
