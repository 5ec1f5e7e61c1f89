# Made by `rowlock sql stubs` of the headers in sql/accounts/
# A test compares.

from datetime import datetime
from decimal import Decimal
from typing import Never, TypedDict

from rowlock.engine.statements import Array, Executor, Statement

class CreateUsersRow(TypedDict):
    id: int
    username: str

class CreateUsers(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        usernames: Array[str],
    ) -> list[CreateUsersRow]: ...

class FindUnbalancedUsersRow(TypedDict):
    id: int
    username: str
    balance: int
    ledger_total: Decimal

class FindUnbalancedUsers(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        page_size: int,
    ) -> list[FindUnbalancedUsersRow]: ...

class FindUsersRow(TypedDict):
    id: int
    first_name: str
    last_name: str
    balance: int

class FindUsers(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        user_ids: Array[int],
    ) -> list[FindUsersRow]: ...

class ListLedgerRow(TypedDict):
    id: int
    amount: int
    balance_after: int
    reason: str
    reference: str
    created_at: datetime

class ListLedger(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        user_id: int,
        before: int,
        page_size: int,
    ) -> list[ListLedgerRow]: ...

class LockFreeUsersRow(TypedDict):
    id: int
    username: str
    balance: int

class LockFreeUsers(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        user_ids: Array[int],
    ) -> list[LockFreeUsersRow]: ...

class LockUsersRow(TypedDict):
    id: int
    username: str
    balance: int

class LockUsers(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        user_ids: Array[int],
    ) -> list[LockUsersRow]: ...

class LockUsersByNameRow(TypedDict):
    id: int
    username: str
    balance: int

class LockUsersByName(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        usernames: Array[str],
    ) -> list[LockUsersByNameRow]: ...

class PostEntries(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        user_ids: Array[int],
        amounts: Array[int],
        balances_after: Array[int],
        reasons: Array[str],
        refs: Array[str],
    ) -> list[Never]: ...

class Accounts:
    create_users: CreateUsers
    find_unbalanced_users: FindUnbalancedUsers
    find_users: FindUsers
    list_ledger: ListLedger
    lock_free_users: LockFreeUsers
    lock_users: LockUsers
    lock_users_by_name: LockUsersByName
    post_entries: PostEntries
