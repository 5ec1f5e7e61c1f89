# Made by `rowlock sql stubs` of the headers in sql/seed/
# A test compares.

from datetime import datetime
from typing import Never, TypedDict

from rowlock.engine.statements import Array, Executor, Statement

class AddDeploymentsRow(TypedDict):
    id: int

class AddDeployments(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        project_ids: Array[int],
        created_ats: Array[datetime],
    ) -> list[AddDeploymentsRow]: ...

class AddLoadUsers(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        first: int,
        last: int,
        balance: int,
    ) -> list[Never]: ...

class AddProducts(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        slugs: Array[str],
        names: Array[str],
        prices: Array[int],
    ) -> list[Never]: ...

class AddServicesRow(TypedDict):
    id: int

class AddServices(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        service_ids: Array[int],
        names: Array[str],
    ) -> list[AddServicesRow]: ...

class DescribeUsersRow(TypedDict):
    id: int
    username: str

class DescribeUsers(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        usernames: Array[str],
        emails: Array[str],
        first_names: Array[str],
        last_names: Array[str],
    ) -> list[DescribeUsersRow]: ...

class FindTakenUsersRow(TypedDict):
    id: int
    username: str
    email: str | None

class FindTakenUsers(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        user_ids: Array[int],
        usernames: Array[str],
        emails: Array[str],
    ) -> list[FindTakenUsersRow]: ...

class HasProductsRow(TypedDict):
    seeded: bool

class HasProducts(Statement):
    async def __call__(self, connection: Executor) -> list[HasProductsRow]: ...

class HasProjectsRow(TypedDict):
    seeded: bool

class HasProjects(Statement):
    async def __call__(self, connection: Executor) -> list[HasProjectsRow]: ...

class ImportUsers(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        user_ids: Array[int],
        usernames: Array[str],
        emails: Array[str],
        created_ats: Array[datetime],
    ) -> list[Never]: ...

class PassProjectIdsRow(TypedDict):
    last_id: int

class PassProjectIds(Statement):
    async def __call__(self, connection: Executor, *, last_id: int) -> list[PassProjectIdsRow]: ...

class PassUserIdsRow(TypedDict):
    last_id: int

class PassUserIds(Statement):
    async def __call__(self, connection: Executor, *, last_id: int) -> list[PassUserIdsRow]: ...

class SkipServiceIdsRow(TypedDict):
    last_service_id: int
    last_order_id: int

class SkipServiceIds(Statement):
    async def __call__(self, connection: Executor) -> list[SkipServiceIdsRow]: ...

class Seed:
    add_deployments: AddDeployments
    add_load_users: AddLoadUsers
    add_products: AddProducts
    add_services: AddServices
    describe_users: DescribeUsers
    find_taken_users: FindTakenUsers
    has_products: HasProducts
    has_projects: HasProjects
    import_users: ImportUsers
    pass_project_ids: PassProjectIds
    pass_user_ids: PassUserIds
    skip_service_ids: SkipServiceIds
