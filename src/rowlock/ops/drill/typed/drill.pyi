# Made by `rowlock sql stubs` of the headers in src/rowlock/ops/drill/sql/drill/
# A test compares.

from datetime import datetime
from typing import TypedDict

from rowlock.engine.statements import Executor, Statement

class CountEntriesRow(TypedDict):
    reference: str
    amount: int
    entries: int

class CountEntries(Statement):
    async def __call__(self, connection: Executor) -> list[CountEntriesRow]: ...

class CountPendingOrdersRow(TypedDict):
    pending: int

class CountPendingOrders(Statement):
    async def __call__(self, connection: Executor) -> list[CountPendingOrdersRow]: ...

class ListDeploymentsRow(TypedDict):
    id: int
    project_id: int
    status: str

class ListDeployments(Statement):
    async def __call__(self, connection: Executor) -> list[ListDeploymentsRow]: ...

class ListInvoicesRow(TypedDict):
    id: int
    status: str
    amount: int

class ListInvoices(Statement):
    async def __call__(self, connection: Executor) -> list[ListInvoicesRow]: ...

class ListOrdersRow(TypedDict):
    id: int
    user_id: int | None
    status: str
    amount: int

class ListOrders(Statement):
    async def __call__(self, connection: Executor) -> list[ListOrdersRow]: ...

class ListServiceOrdersRow(TypedDict):
    id: int
    starts_at: datetime
    imported: bool

class ListServiceOrders(Statement):
    async def __call__(self, connection: Executor) -> list[ListServiceOrdersRow]: ...

class ListUsersRow(TypedDict):
    id: int
    username: str
    balance: int

class ListUsers(Statement):
    async def __call__(self, connection: Executor) -> list[ListUsersRow]: ...

class Drill:
    count_entries: CountEntries
    count_pending_orders: CountPendingOrders
    list_deployments: ListDeployments
    list_invoices: ListInvoices
    list_orders: ListOrders
    list_service_orders: ListServiceOrders
    list_users: ListUsers
