# Made by `rowlock sql stubs` of the headers in sql/service_orders/
# A test compares.

from datetime import datetime, timedelta
from typing import Never, TypedDict

from rowlock.engine.statements import Array, Executor, Statement

class CreateOrders(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        order_ids: Array[int],
        starts_ats: Array[datetime],
        fees: Array[int],
        imported: Array[bool],
        versions: Array[int],
    ) -> list[Never]: ...

class DeleteOrders(Statement):
    async def __call__(self, connection: Executor, *, order_ids: Array[int]) -> list[Never]: ...

class DrawIdsRow(TypedDict):
    id: int

class DrawIds(Statement):
    async def __call__(self, connection: Executor, *, how_many: int) -> list[DrawIdsRow]: ...

class ExcludeServices(Statement):
    async def __call__(self, connection: Executor, *, order_ids: Array[int]) -> list[Never]: ...

class FindNeighboursRow(TypedDict):
    starts_at: datetime
    id: int

class FindNeighbours(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        times: Array[datetime],
        reach: timedelta,
    ) -> list[FindNeighboursRow]: ...

class FindOrdersRow(TypedDict):
    id: int
    starts_at: datetime
    fee: int
    imported: bool
    version: int
    service_ids: list[int]
    service_names: list[str]

class FindOrders(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        order_ids: Array[int],
    ) -> list[FindOrdersRow]: ...

class FindServicesRow(TypedDict):
    id: int
    name: str

class FindServices(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        service_ids: Array[int],
    ) -> list[FindServicesRow]: ...

class IncludeServices(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        order_ids: Array[int],
        service_ids: Array[int],
    ) -> list[Never]: ...

class ListOrdersRow(TypedDict):
    id: int
    starts_at: datetime
    fee: int
    imported: bool
    version: int
    service_ids: list[int]
    service_names: list[str]

class ListOrders(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        after: datetime,
        after_id: int,
        before: datetime,
        page_size: int,
    ) -> list[ListOrdersRow]: ...

class ListOrdersOfServiceRow(TypedDict):
    id: int
    starts_at: datetime
    fee: int
    imported: bool
    version: int
    service_ids: list[int]
    service_names: list[str]

class ListOrdersOfService(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        after: datetime,
        after_id: int,
        before: datetime,
        page_size: int,
        service_id: int,
    ) -> list[ListOrdersOfServiceRow]: ...

class ListServicesRow(TypedDict):
    id: int
    name: str

class ListServices(Statement):
    async def __call__(self, connection: Executor) -> list[ListServicesRow]: ...

class LockCalendarRow(TypedDict):
    locked: object
    locked_as_in_0_1: object

class LockCalendar(Statement):
    async def __call__(self, connection: Executor) -> list[LockCalendarRow]: ...

class ReplaceOrders(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        order_ids: Array[int],
        starts_ats: Array[datetime],
        fees: Array[int],
        imported: Array[bool],
        versions: Array[int],
    ) -> list[Never]: ...

class ServiceOrders:
    create_orders: CreateOrders
    delete_orders: DeleteOrders
    draw_ids: DrawIds
    exclude_services: ExcludeServices
    find_neighbours: FindNeighbours
    find_orders: FindOrders
    find_services: FindServices
    include_services: IncludeServices
    list_orders: ListOrders
    list_orders_of_service: ListOrdersOfService
    list_services: ListServices
    lock_calendar: LockCalendar
    replace_orders: ReplaceOrders
