"""The settings of a process, read once from `ROWLOCK_*` environment variables."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, is_dataclass, replace
from typing import Any, cast

from environs import Env, EnvValidationError, ValidationError

from rowlock.errors import InvalidSettings
from rowlock.settings.consistency import find_problems
from rowlock.settings.features import (
    BenefitSettings,
    ConsoleSettings,
    ConsumerSettings,
    EventSettings,
    NatsSettings,
    OrderSettings,
    PageSettings,
    ProjectSettings,
    SubscriptionSettings,
)
from rowlock.settings.groups import (
    DEVELOPMENT_TOKENS,
    AddressSettings,
    Auth0Settings,
    BatchSettings,
    DatabaseSettings,
    DeliverySettings,
    EmbeddedSettings,
    HttpSettings,
    LeaseSettings,
    LogSettings,
    MetricsSettings,
    ProcessSettings,
    TaskSettings,
)
from rowlock.settings.kinds import PREFIX, Kind, choice, kind_of, variable_named
from rowlock.settings.money import MoneySettings
from rowlock.settings.names import ServiceName, is_loopback

# Read by the test suite, not by Rowlock.
FOREIGN = frozenset({"ROWLOCK_TEST_DATABASE_URL"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one process, in groups."""

    env: str = choice(
        "development",
        "production requires a database and tokens of your own",
        *("development", "production"),
    )
    logs: LogSettings = field(default_factory=LogSettings)
    addresses: AddressSettings = field(default_factory=AddressSettings)
    auth0: Auth0Settings = field(default_factory=Auth0Settings)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    embedded: EmbeddedSettings = field(default_factory=EmbeddedSettings)
    batches: BatchSettings = field(default_factory=BatchSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    pages: PageSettings = field(default_factory=PageSettings)
    console: ConsoleSettings = field(default_factory=ConsoleSettings)
    process: ProcessSettings = field(default_factory=ProcessSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    tasks: TaskSettings = field(default_factory=TaskSettings)
    leases: LeaseSettings = field(default_factory=LeaseSettings)
    orders: OrderSettings = field(default_factory=OrderSettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    events: EventSettings = field(default_factory=EventSettings)
    subscriptions: SubscriptionSettings = field(default_factory=SubscriptionSettings)
    consumers: ConsumerSettings = field(default_factory=ConsumerSettings)
    nats: NatsSettings = field(default_factory=NatsSettings)
    projects: ProjectSettings = field(default_factory=ProjectSettings)
    money: MoneySettings = field(default_factory=MoneySettings)
    benefits: BenefitSettings = field(default_factory=BenefitSettings)

    @classmethod
    def from_environment(cls, serving: Collection[ServiceName] | None = ()) -> "Settings":
        """Return the settings that the environment asks for.

        Raises InvalidSettings, whose message has a line for every problem: variables that are
        unknown or wrong, settings that can't work together, and in production what the services
        in `serving` lack; None: those that are served by default.
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
        wrong = set()
        try:
            env.seal()
        except EnvValidationError as error:
            messages = cast("Mapping[str, list[str]]", error.error_messages)
            problems += [f"{variable} {message}" for variable, [message] in messages.items()]
            wrong = {known[variable].name for variable in messages}
        settings = cls().changed(**{name: values[name] for name in values.keys() - wrong})
        # Where a setting is wrong, `settings` has its default: that must not be reported, too.
        problems += [
            problem.text
            for problem in find_problems(
                settings, settings.services if serving is None else serving
            )
            if wrong.isdisjoint(problem.names)
        ]
        if problems:
            raise InvalidSettings("\n".join(problems))
        return settings

    @property
    def is_own_machine(self) -> bool:
        """Whether this is development, on an address that only this machine reaches."""
        return self.env == "development" and is_loopback(self.addresses.host)

    @property
    def has_shop(self) -> bool:
        """Whether commerce serves the shop."""
        return self.is_own_machine if self.pages.shop is None else self.pages.shop

    @property
    def services(self) -> Sequence[ServiceName]:
        """The services that are served unless some are named.

        The console is one of them where it has a token of its own, or on a developer's own machine.
        """
        if self.is_own_machine or self.addresses.console_token not in DEVELOPMENT_TOKENS:
            return tuple(ServiceName)
        return tuple(name for name in ServiceName if name != ServiceName.CONSOLE)

    def values(self) -> dict[str, Any]:
        """Return the value of every setting by its name, whatever group it is in."""
        parts = (self, *(getattr(self, each.name) for each in fields(self)))
        return {
            setting.name: getattr(part, setting.name)
            for part in parts
            if is_dataclass(part)
            for setting in fields(part)
            if "kind" in setting.metadata
        }

    def changed(self, **changes: Any) -> "Settings":
        """Return these settings with some changed, whatever groups they are in.

        Raises TypeError for a name that is not a setting.
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


def all_settings() -> Iterator["Field[Any]"]:
    """Yield every setting: the fields of all groups, in order."""
    for each in fields(Settings):
        if "kind" in each.metadata:
            yield each
        else:
            yield from fields(each.type)  # type: ignore[arg-type]


def variable_of(setting: "Field[Any]") -> str:
    """Return the environment variable of a setting."""
    return variable_named(setting.name)


def _read(given: str, kind: Kind) -> Any:
    try:
        return kind.read(given)
    except ValueError as error:
        is_set_to = "" if kind.is_secret else f"is {given!r}, but "
        raise ValidationError(f"{is_set_to}must be {error}.") from None
