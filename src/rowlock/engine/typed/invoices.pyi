# Made by `rowlock sql stubs` of the headers in sql/invoices/
# A test compares.

from datetime import datetime
from typing import TypedDict

from rowlock.engine.statements import Array, Executor, Statement

class CreateInvoicesRow(TypedDict):
    id: int
    created_at: datetime

class CreateInvoices(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        user_ids: Array[int],
        amounts: Array[int],
        labels: Array[str],
    ) -> list[CreateInvoicesRow]: ...

class FindInvoicesRow(TypedDict):
    id: int
    user_id: int
    amount: int
    label: str
    status: str
    created_at: datetime
    paid_at: datetime | None

class FindInvoices(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        invoice_ids: Array[int],
    ) -> list[FindInvoicesRow]: ...

class ListInvoicesRow(TypedDict):
    id: int
    user_id: int
    amount: int
    label: str
    status: str
    created_at: datetime
    paid_at: datetime | None

class ListInvoices(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        before: int,
        page_size: int,
    ) -> list[ListInvoicesRow]: ...

class ListInvoicesByStatusRow(TypedDict):
    id: int
    user_id: int
    amount: int
    label: str
    status: str
    created_at: datetime
    paid_at: datetime | None

class ListInvoicesByStatus(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        status: str,
        before: int,
        page_size: int,
    ) -> list[ListInvoicesByStatusRow]: ...

class ListUserInvoicesRow(TypedDict):
    id: int
    user_id: int
    amount: int
    label: str
    status: str
    created_at: datetime
    paid_at: datetime | None

class ListUserInvoices(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        user_id: int,
        statuses: Array[str],
        before: int,
        page_size: int,
    ) -> list[ListUserInvoicesRow]: ...

class LockInvoicesRow(TypedDict):
    id: int
    user_id: int
    amount: int
    label: str
    status: str
    created_at: datetime
    paid_at: datetime | None

class LockInvoices(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        invoice_ids: Array[int],
    ) -> list[LockInvoicesRow]: ...

class PayInvoicesRow(TypedDict):
    id: int
    paid_at: datetime

class PayInvoices(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        invoice_ids: Array[int],
    ) -> list[PayInvoicesRow]: ...

class Invoices:
    create_invoices: CreateInvoices
    find_invoices: FindInvoices
    list_invoices: ListInvoices
    list_invoices_by_status: ListInvoicesByStatus
    list_user_invoices: ListUserInvoices
    lock_invoices: LockInvoices
    pay_invoices: PayInvoices
