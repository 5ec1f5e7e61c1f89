"""The settings of a process, read once from `ROWLOCK_*` environment variables."""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass, replace
from typing import Any, cast

from environs import Env, EnvValidationError, ValidationError

from rowlock.errors import InvalidSettings
from rowlock.settings.groups import (
    DEVELOPMENT_TOKENS,
    AddressSettings,
    Auth0Settings,
    BatchSettings,
    BenefitSettings,
    DatabaseSettings,
    DeliverySettings,
    EventSettings,
    HttpSettings,
    LogSettings,
    MetricsSettings,
    OrderSettings,
    ProcessSettings,
    ProjectSettings,
    TaskSettings,
)
from rowlock.settings.kinds import Kind, choice, kind_of

PREFIX = "ROWLOCK_"

# Read by the test suite, not by the service.
FOREIGN = frozenset({"ROWLOCK_TEST_DATABASE_URL"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one process, in groups."""

    env: str = choice(
        "development",
        "production insists on a database and on tokens of your own",
        *("development", "production"),
    )
    logs: LogSettings = field(default_factory=LogSettings)
    addresses: AddressSettings = field(default_factory=AddressSettings)
    auth0: Auth0Settings = field(default_factory=Auth0Settings)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    batches: BatchSettings = field(default_factory=BatchSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    process: ProcessSettings = field(default_factory=ProcessSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    tasks: TaskSettings = field(default_factory=TaskSettings)
    orders: OrderSettings = field(default_factory=OrderSettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    events: EventSettings = field(default_factory=EventSettings)
    projects: ProjectSettings = field(default_factory=ProjectSettings)
    benefits: BenefitSettings = field(default_factory=BenefitSettings)

    @classmethod
    def from_environment(cls) -> "Settings":
        """Return the settings that the environment asks for.

        Raises InvalidSettings, which names every variable that is unknown or wrong.
        """
        known = {variable_of(setting): setting for setting in all_settings()}
        env = Env(eager=False)
        env.add_parser("setting", _read)
        values = {}
        problems = []
        for variable in sorted(os.environ):
            if variable in known:
                values[known[variable].name] = env.setting(variable, kind=kind_of(known[variable]))
            elif variable.startswith(PREFIX) and variable not in FOREIGN:
                problems.append(f"{variable} is not a setting of Rowlock.")
        try:
            env.seal()
        except EnvValidationError as error:
            wrong = cast("Mapping[str, list[str]]", error.error_messages)
            problems += [f"{name} {message}" for name, [message] in wrong.items()]
        if not problems:
            settings = cls().changed(**values)
            problems = [*settings._contradictions()]
        if problems:
            raise InvalidSettings("\n".join(problems))
        return settings

    def changed(self, **changes: Any) -> "Settings":
        """Return these settings with some changed, whatever groups they are in.

        Raises TypeError for a name that is no setting.
        """
        groups: dict[str, Any] = {}
        for each in fields(self):
            group = getattr(self, each.name)
            if is_dataclass(group) and not isinstance(group, type):
                names = [inner.name for inner in fields(group) if inner.name in changes]
                if names:
                    groups[each.name] = replace(
                        group, **{name: changes.pop(name) for name in names}
                    )
        return replace(self, **groups, **changes)

    def check_production(self, services: Collection[str]) -> None:
        """Raise InvalidSettings if `services` may not be served in production like this."""
        problems = [*self._production_problems(services)] if self.env == "production" else []
        if problems:
            raise InvalidSettings("\n".join(problems))

    def _contradictions(self) -> Iterator[str]:
        if (self.auth0.auth0_domain is None) != (self.auth0.auth0_audience is None):
            yield "ROWLOCK_AUTH0_DOMAIN and ROWLOCK_AUTH0_AUDIENCE must be set together."
        if self.env == "production" and self.database.database_url is None:
            yield "ROWLOCK_DATABASE_URL must be set in production."

    def _production_problems(self, services: Collection[str]) -> Iterator[str]:
        addresses = self.addresses
        if (
            "commerce" in services
            and addresses.commerce_token is None
            and not addresses.commerce_public
        ):
            yield (
                "In production, set ROWLOCK_COMMERCE_TOKEN, or ROWLOCK_COMMERCE_PUBLIC=1 to leave "
                "the commerce service open."
            )
        tokens = {
            "ROWLOCK_COMMERCE_TOKEN": addresses.commerce_token,
            "ROWLOCK_PROJECTS_TOKEN": addresses.projects_token,
            "ROWLOCK_EVENTS_TOKEN": addresses.events_token,
            "ROWLOCK_METRICS_TOKEN": addresses.metrics_token,
        }
        if "projects" not in services:
            del tokens["ROWLOCK_PROJECTS_TOKEN"]  # the events token is used by every service
        for variable, token in tokens.items():
            if token in DEVELOPMENT_TOKENS:
                yield f"{variable} must be set in production, to a token of your own."
        own = [token for token in tokens.values() if token and token not in DEVELOPMENT_TOKENS]
        if len(set(own)) < len(own):
            yield "Two settings have the same token: each needs its own."
        url = self.auth0.auth0_url
        if url is not None and not url.startswith("https://"):
            yield "ROWLOCK_AUTH0_URL must start with https:// in production."


def all_settings() -> Iterator["Field[Any]"]:
    """Yield every setting: the fields of all groups, in order."""
    for each in fields(Settings):
        if "kind" in each.metadata:
            yield each
        else:
            yield from fields(each.type)  # type: ignore[arg-type]


def variable_of(setting: "Field[Any]") -> str:
    """Return the environment variable of a setting."""
    return PREFIX + setting.name.upper()


def _read(given: str, kind: Kind) -> Any:
    try:
        return kind.read(given)
    except ValueError as error:
        is_set_to = "" if kind.is_secret else f"is {given!r}, but "
        raise ValidationError(f"{is_set_to}must be {error}.") from None
