# Made by `rowlock sql stubs` of the headers in sql/projects/
# A test compares.

from datetime import datetime, timedelta
from typing import Never, TypedDict

from rowlock.engine.statements import Array, Executor, Statement

class AssignUrls(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        project_ids: Array[int],
        urls: Array[str],
    ) -> list[Never]: ...

class CreateDeploymentsRow(TypedDict):
    id: int
    created_at: datetime

class CreateDeployments(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        project_ids: Array[int],
    ) -> list[CreateDeploymentsRow]: ...

class CreateProjectsRow(TypedDict):
    id: int
    created_at: datetime

class CreateProjects(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        ids: Array[int | None],
        names: Array[str],
        urls: Array[str | None],
        user_ids: Array[int],
        app_secrets: Array[str],
        created_ats: Array[datetime | None],
    ) -> list[CreateProjectsRow]: ...

class FindDeploymentStatsRow(TypedDict):
    user_id: int
    weeks: int
    deployments: int
    successful: int
    weekly: float
    weekly_successful: float

class FindDeploymentStats(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        user_ids: Array[int],
        as_of: datetime,
    ) -> list[FindDeploymentStatsRow]: ...

class FindDeploymentsRow(TypedDict):
    id: int
    project_id: int
    status: str
    deployed_in: int | None
    created_at: datetime
    ended_at: datetime | None

class FindDeployments(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        deployment_ids: Array[int],
    ) -> list[FindDeploymentsRow]: ...

class FindLiveProjectsRow(TypedDict):
    project_id: int

class FindLiveProjects(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        project_ids: Array[int],
    ) -> list[FindLiveProjectsRow]: ...

class FindProjectOwnersRow(TypedDict):
    id: int
    name: str
    url: str | None
    user_id: int

class FindProjectOwners(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        project_ids: Array[int],
    ) -> list[FindProjectOwnersRow]: ...

class FindProjectsRow(TypedDict):
    id: int
    name: str
    url: str | None
    created_at: datetime
    owner_id: int
    email: str | None
    username: str
    is_ongoing: bool
    is_live: bool

class FindProjects(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        project_ids: Array[int],
    ) -> list[FindProjectsRow]: ...

class FindWebhookMessagesRow(TypedDict):
    deployment_id: int
    webhook_id: str
    reported: str
    status: str

class FindWebhookMessages(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        deployment_ids: Array[int],
        webhook_ids: Array[str],
    ) -> list[FindWebhookMessagesRow]: ...

class FindWebhookSecretsRow(TypedDict):
    deployment_id: int
    app_secret: str

class FindWebhookSecrets(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        deployment_ids: Array[int],
    ) -> list[FindWebhookSecretsRow]: ...

class ListDeploymentsRow(TypedDict):
    place: int
    total: int
    id: int | None
    project_id: int | None
    status: str | None
    deployed_in: int | None
    created_at: datetime | None
    ended_at: datetime | None

class ListDeployments(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        places: Array[int],
    ) -> list[ListDeploymentsRow]: ...

class ListProjectsRow(TypedDict):
    place: int
    total: int
    id: int | None
    name: str | None
    url: str | None
    created_at: datetime | None
    owner_id: int | None
    email: str | None
    username: str | None
    is_ongoing: bool
    is_live: bool

class ListProjects(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        places: Array[int],
    ) -> list[ListProjectsRow]: ...

class LockDeploymentPositionsRow(TypedDict):
    locked: object
    locked_as_in_0_1: object

class LockDeploymentPositions(Statement):
    async def __call__(self, connection: Executor) -> list[LockDeploymentPositionsRow]: ...

class LockDeploymentsRow(TypedDict):
    id: int
    project_id: int
    status: str
    deployed_in: int | None
    created_at: datetime
    ended_at: datetime | None
    now: datetime

class LockDeployments(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        deployment_ids: Array[int],
    ) -> list[LockDeploymentsRow]: ...

class LockProjectPositionsRow(TypedDict):
    locked: object
    locked_as_in_0_1: object

class LockProjectPositions(Statement):
    async def __call__(self, connection: Executor) -> list[LockProjectPositionsRow]: ...

class LockProjectsRow(TypedDict):
    id: int
    name: str
    url: str | None
    user_id: int

class LockProjects(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        project_ids: Array[int],
    ) -> list[LockProjectsRow]: ...

class MoveDeployments(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        deployment_ids: Array[int],
        statuses: Array[str],
        deployed_ins: Array[int | None],
        ended_ats: Array[datetime | None],
        first_lives: Array[bool],
    ) -> list[Never]: ...

class PurgeWebhookMessagesRow(TypedDict):
    purged: int

class PurgeWebhookMessages(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        keep: timedelta,
        page_size: int,
    ) -> list[PurgeWebhookMessagesRow]: ...

class RememberWebhookMessages(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        deployment_ids: Array[int],
        webhook_ids: Array[str],
        reported: Array[str],
        statuses: Array[str],
    ) -> list[Never]: ...

class RotateSecrets(Statement):
    async def __call__(
        self,
        connection: Executor,
        *,
        project_ids: Array[int],
        app_secrets: Array[str],
    ) -> list[Never]: ...

class Projects:
    assign_urls: AssignUrls
    create_deployments: CreateDeployments
    create_projects: CreateProjects
    find_deployment_stats: FindDeploymentStats
    find_deployments: FindDeployments
    find_live_projects: FindLiveProjects
    find_project_owners: FindProjectOwners
    find_projects: FindProjects
    find_webhook_messages: FindWebhookMessages
    find_webhook_secrets: FindWebhookSecrets
    list_deployments: ListDeployments
    list_projects: ListProjects
    lock_deployment_positions: LockDeploymentPositions
    lock_deployments: LockDeployments
    lock_project_positions: LockProjectPositions
    lock_projects: LockProjects
    move_deployments: MoveDeployments
    purge_webhook_messages: PurgeWebhookMessages
    remember_webhook_messages: RememberWebhookMessages
    rotate_secrets: RotateSecrets
