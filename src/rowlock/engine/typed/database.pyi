# Made by `rowlock sql stubs` of the headers in sql/database/
# A test compares.

from typing import TypedDict

from rowlock.engine.statements import Executor, Statement

class ListAppliedMigrationsRow(TypedDict):
    migration_id: str

class ListAppliedMigrations(Statement):
    async def __call__(self, connection: Executor) -> list[ListAppliedMigrationsRow]: ...

class ListColumnsRow(TypedDict):
    table_name: str
    name: str
    type: str
    is_nullable: bool
    default_value: str | None
    comment: str | None

class ListColumns(Statement):
    async def __call__(self, connection: Executor) -> list[ListColumnsRow]: ...

class ListConstraintsRow(TypedDict):
    table_name: str
    name: str
    definition: str
    comment: str | None

class ListConstraints(Statement):
    async def __call__(self, connection: Executor) -> list[ListConstraintsRow]: ...

class ListFunctionsRow(TypedDict):
    name: str
    arguments: str
    result: str
    is_definers: bool
    settings: list[str] | None
    comment: str | None

class ListFunctions(Statement):
    async def __call__(self, connection: Executor) -> list[ListFunctionsRow]: ...

class ListIndexesRow(TypedDict):
    table_name: str
    name: str
    definition: str
    valid: bool

class ListIndexes(Statement):
    async def __call__(self, connection: Executor) -> list[ListIndexesRow]: ...

class ListTablesRow(TypedDict):
    name: str
    kind: str
    comment: str | None
    partition_key: str | None
    default_partition: str | None
    options: list[str] | None

class ListTables(Statement):
    async def __call__(self, connection: Executor) -> list[ListTablesRow]: ...

class ListTriggersRow(TypedDict):
    table_name: str
    name: str
    definition: str
    comment: str | None

class ListTriggers(Statement):
    async def __call__(self, connection: Executor) -> list[ListTriggersRow]: ...

class PinFormatRow(TypedDict):
    search_path: str
    time_zone: str
    date_style: str
    interval_style: str

class PinFormat(Statement):
    async def __call__(self, connection: Executor) -> list[PinFormatRow]: ...

class SetTimeoutsRow(TypedDict):
    statement_timeout: str
    lock_timeout: str
    idle_timeout: str
    jit: str

class SetTimeouts(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        statement_timeout: str,
        lock_timeout: str,
        idle_in_transaction_session_timeout: str,
    ) -> list[SetTimeoutsRow]: ...

class Database:
    list_applied_migrations: ListAppliedMigrations
    list_columns: ListColumns
    list_constraints: ListConstraints
    list_functions: ListFunctions
    list_indexes: ListIndexes
    list_tables: ListTables
    list_triggers: ListTriggers
    pin_format: PinFormat
    set_timeouts: SetTimeouts
