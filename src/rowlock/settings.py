"""Every setting and limit, read once from `ROWLOCK_*` environment variables."""

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, DecimalException
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import psycopg
from psycopg.conninfo import conninfo_to_dict
from yarl import URL

from rowlock.exceptions import InvalidSettings

PREFIX = "ROWLOCK_"

HIGHEST_PORT = 65_535

# Bounds that the types do not give.
LEAST = {
    "statement_timeout_s": 0.001,  # PostgreSQL takes 0 for no limit at all
    "lock_timeout_s": 0.001,
    "worker_silence_s": 1,
}
MOST = {
    "commerce_port": HIGHEST_PORT,
    "projects_port": HIGHEST_PORT,
    "events_port": HIGHEST_PORT,
    "events_retention_months": 12_000,  # a thousand years ago, PostgreSQL can still tell the time
}

# Read by the test suite, not by the service.
FOREIGN = frozenset({"ROWLOCK_TEST_DATABASE_URL"})

TOKEN = re.compile("[!-~]+")  # what a header can carry, and no blank to get lost
HOST_NAME = re.compile(r"[A-Za-z0-9.-]+")

DEVELOPMENT_TOKENS = frozenset({"development-projects-token", "development-events-token"})


class Cents(int):
    """Minor units; in the environment an amount of major units such as 500.00."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one process. The field `opening_balance` is `ROWLOCK_OPENING_BALANCE`.

    Names end in their unit: `_s` seconds, `_bytes`; everything else without one is a count.
    """

    env: Literal["development", "production"] = "development"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_requests: bool = True

    # Addresses.
    host: str = "127.0.0.1"
    commerce_port: int = 4000
    events_port: int = 3001
    events_url: str | None = None  # where the relay posts; None: events_port, on this machine
    commerce_token: str | None = None
    commerce_public: bool = False  # production: the open commerce service is meant to be open
    projects_port: int = 3000
    projects_token: str = "development-projects-token"  # noqa: S105
    events_token: str = "development-events-token"  # noqa: S105
    events_timeout_s: float = 3.0  # for an answer of the events service
    metrics_token: str | None = None  # for /metrics, of every service; None: the service's own

    # Auth0: with both set, the projects service takes the tenant's tokens too.
    auth0_domain: str | None = None  # such as example.eu.auth0.com
    auth0_audience: str | None = None  # the API's identifier
    auth0_url: str | None = None  # where the tenant's keys are; https:// and the domain by default
    auth0_timeout_s: float = 3.0  # for the keys
    auth0_refetch_s: float = 60.0  # keys are fetched again at most this often
    auth0_retry_s: float = 1.0  # pause after a failure while there are no keys at all
    auth0_keys_s: float = 3600.0  # age at which keys are fetched again, as some may be revoked

    # Databases. None: the embedded server, with its data in data_dir.
    database_url: str | None = None
    events_database_url: str | None = None  # None: rowlock_events, on the same server
    data_dir: Path = Path(".rowlock")
    pool_connections: int = 12  # half of them, at most, for lists
    pool_queue: int = 1024  # lists that wait for a connection; one more gets 503
    connect_timeout_s: float = 3.0
    acquire_timeout_s: float = 3.0  # wait for a free connection of the pool
    statement_timeout_s: float = 5.0  # by the server; the client allows one second more
    lock_timeout_s: float = 0.5  # no batch of ours holds a row for longer
    idle_in_transaction_timeout_s: float = 10.0
    embedded_start_timeout_s: float = 60.0  # includes recovery after a crash

    # Group commit and group read.
    batch_items: int = 512  # most commands in one transaction, or keys in one read
    batch_answers: int = 8  # handed out in a row, before the loop turns to the database again
    batch_queue: int = 2048  # most that wait for one kind of batch; one more gets 503
    batch_wait_s: float = 2.0  # a command that has waited longer gets 503 instead of a batch
    batch_attempts: int = 3  # tries of a batch that meets a deadlock
    batch_retry_s: float = 0.02  # the longest pause before another try
    idempotency_keep_s: float = 86_400.0  # a key that is older may be used again
    idempotency_purge_s: float = 60.0

    # HTTP.
    body_bytes: int = 65_536
    headers_timeout_s: float = 10.0  # for headers to arrive, from their first byte on
    write_timeout_s: float = 20.0  # for a client to read what is written to it
    turn_requests: int = 16  # let in per turn of the event loop; the others wait
    turn_wait_s: float = 2.0  # one that has waited longer for its turn gets 503
    body_timeout_s: float = 20.0  # for a body to arrive
    linger_timeout_s: float = 5.0  # for the rest of a body that was answered before its end
    keepalive_timeout_s: float = 75.0  # for a connection's next request to begin
    readiness_timeout_s: float = 2.0
    retry_after_s: int = 1  # what a 503 tells the client
    backlog: int = 2048  # connections that wait to be accepted

    # Shutdown.
    handshake_timeout_s: float = 0.1  # for connections that were half made
    drain_idle_s: float = 1.0  # in which idle connections may still send one request
    drain_timeout_s: float = 8.0  # for requests under way
    stop_timeout_s: float = 0.6  # after that, for everything else

    # Processes.
    workers: int = 1
    worker_start_timeout_s: float = 60.0
    worker_silence_s: float = 30.0  # one that says nothing for so long is stuck, and is killed
    worker_retry_s: float = 0.2  # pause before a worker that died at once starts again; doubles
    worker_retry_limit_s: float = 5.0  # one that has lived longer is replaced without a pause

    # Metrics.
    metrics_sample_s: float = 1.0  # how often queues and pools are looked at
    metrics_timeout_s: float = 1.0  # for each of the two questions of a scrape to the database
    metrics_rows: int = 100_000  # counted at most

    # Background tasks.
    task_retry_s: float = 0.2  # pause before a task that failed starts again; doubles
    task_retry_limit_s: float = 5.0
    task_healthy_s: float = 1.0  # a restarted task that has run so long counts as healthy
    processor_poll_s: float = 2.0
    processor_page_orders: int = 8192  # found at a time; those of one user settle together
    processor_batch_orders: int = 512
    processor_attempts: int = 8  # failures before an order is refused for good
    processor_retry_s: float = 1.0  # pause after an order's first failure; doubles
    processor_retry_limit_s: float = 60.0
    relay_batch_events: int = 1000
    relay_poll_s: float = 0.05
    relay_lead_poll_s: float = 1.0  # how often one that does not lead tries to
    relay_timeout_s: float = 10.0
    relay_retry_s: float = 0.1  # pause after the first failure; doubles
    relay_retry_limit_s: float = 15.0
    outbox_purge_s: float = 10.0
    housekeeping_rows: int = 5000  # removed by one statement

    # Events.
    events_body_bytes: int = 8_388_608
    events_batch_deliveries: int = 8  # batches of events in one transaction
    events_retention_months: int = 13
    events_months_ahead: int = 2  # partitions made in advance
    events_months_behind: int = 13  # partitions made for what comes late, within the retention
    events_moved_rows: int = 10_000  # move to a new partition at most: the intake waits meanwhile
    partitions_check_s: float = 3600.0
    partitions_retry_s: float = 30.0  # pause where a reader's lock was in the way; doubles
    stream_held_events: int = 2_000  # in memory, shared by all clients
    stream_page_events: int = 500
    stream_poll_s: float = 0.25
    stream_heartbeat_s: float = 15.0
    stream_buffer_bytes: int = 262_144  # written, but not read by the client yet
    stream_stall_s: float = 10.0  # a client whose buffer stays full that long is cut off
    # Projects.
    projects_domain: str = "rowlock.example"  # a project's first live deployment gets a name in it
    webhook_keep_s: float = 604_800.0  # signed messages are remembered that long
    webhook_purge_s: float = 3600.0
    webhook_tolerance_s: int = 300  # by which a signed webhook's time may differ from ours

    # Business.
    opening_balance: Cents = Cents(500_00)  # noqa: RUF009
    approval_rate: float = 0.5  # of orders without a user

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Return the settings that `environ` asks for.

        Raises InvalidSettings for the first variable that is unknown or can't be read.
        """
        types = {field.name: field.type for field in fields(cls)}
        values: dict[str, Any] = {}
        for variable, text in environ.items():
            if not variable.startswith(PREFIX) or variable in FOREIGN:
                continue
            name = variable.removeprefix(PREFIX).lower()
            if name not in types or variable != variable.upper():
                raise InvalidSettings(f"{variable} is not a setting of Rowlock.")
            try:
                values[name] = _parse(text, types[name])
            except ValueError as error:
                raise InvalidSettings(f"{variable} is {text!r}, but must be {error}.") from None
        settings = cls(**values)
        settings._check()
        return settings

    @property
    def events_address(self) -> str:
        """The URL of the events service, without a slash at its end."""
        return (self.events_url or f"http://127.0.0.1:{self.events_port}").rstrip("/")

    def _check(self) -> None:
        self._check_fields()
        self._check_urls()
        if self.approval_rate > 1:
            raise InvalidSettings("ROWLOCK_APPROVAL_RATE must be a number from 0 to 1.")
        if (self.auth0_domain is None) != (self.auth0_audience is None):
            raise InvalidSettings(
                "ROWLOCK_AUTH0_DOMAIN and ROWLOCK_AUTH0_AUDIENCE need each other."
            )
        if self.auth0_domain is not None and not HOST_NAME.fullmatch(self.auth0_domain):
            raise InvalidSettings("ROWLOCK_AUTH0_DOMAIN must be a name such as x.eu.auth0.com.")
        if self.env == "production" and self.database_url is None:
            raise InvalidSettings("ROWLOCK_DATABASE_URL must be set in production.")

    def _check_fields(self) -> None:
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            least = LEAST.get(name, 1 if field.type is int else None)
            if least is not None and value < least:
                raise InvalidSettings(f"{PREFIX}{name.upper()} must be at least {least}.")
            if name in MOST and value > MOST[name]:
                raise InvalidSettings(f"{PREFIX}{name.upper()} must be at most {MOST[name]}.")
            if name.endswith("_token") and value is not None and not TOKEN.fullmatch(value):
                raise InvalidSettings(
                    f"{PREFIX}{name.upper()} must be visible ASCII characters, no blanks."
                )

    def _check_urls(self) -> None:
        http = _is_http, "https://host:port/path"
        postgresql = _is_postgresql, "postgresql://user:password@host/database"
        for name, (is_right, example) in {
            "events_url": http,
            "auth0_url": http,
            "database_url": postgresql,
            "events_database_url": postgresql,
        }.items():
            url = getattr(self, name)
            if url is not None and not is_right(url):  # it is not shown: it may have a password
                raise InvalidSettings(f"{PREFIX}{name.upper()} must be like {example}.")

    def check_production(self, services: Collection[str]) -> None:
        """Raise InvalidSettings if `services` may not be served in production like this."""
        if self.env != "production":
            return
        if "commerce" in services and self.commerce_token is None and not self.commerce_public:
            raise InvalidSettings(
                "In production, set ROWLOCK_COMMERCE_TOKEN, or ROWLOCK_COMMERCE_PUBLIC=1 to leave "
                "the commerce service open."
            )
        tokens = {
            "ROWLOCK_COMMERCE_TOKEN": self.commerce_token,
            "ROWLOCK_PROJECTS_TOKEN": self.projects_token,
            "ROWLOCK_EVENTS_TOKEN": self.events_token,
            "ROWLOCK_METRICS_TOKEN": self.metrics_token,
        }
        if "projects" not in services:
            del tokens["ROWLOCK_PROJECTS_TOKEN"]  # the events token is used by every service
        for variable, token in tokens.items():
            if token in DEVELOPMENT_TOKENS:
                raise InvalidSettings(
                    f"{variable} must be set in production, to a token of your own."
                )
        given = [token for token in tokens.values() if token is not None]
        if len(set(given)) < len(given):
            raise InvalidSettings("Two settings have the same token: each needs its own.")
        if self.auth0_url is not None and not self.auth0_url.startswith("https://"):
            raise InvalidSettings("ROWLOCK_AUTH0_URL must start with https:// in production.")


def _is_http(url: str) -> bool:
    try:
        parsed = URL(url)
    except ValueError:
        return False
    extra = parsed.raw_user or parsed.query_string or parsed.fragment or " " in url
    return parsed.scheme in {"http", "https"} and bool(parsed.host and parsed.port) and not extra


def _is_postgresql(url: str) -> bool:
    try:
        ports = str(conninfo_to_dict(url).get("port", "5432")).split(",")
    except psycopg.ProgrammingError:
        return False
    return url.startswith(("postgresql://", "postgres://")) and all(
        re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) <= HIGHEST_PORT for port in ports
    )


def _parse(text: str, kind: Any) -> Any:
    """Return `text` as a value of the field type `kind`; ValueError says what it must be."""
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise ValueError("one of " + ", ".join(get_args(kind)))
        return text
    if kind is bool:
        return _parse_bool(text)
    if kind is int:
        return _parse_count(text)
    if kind is float:
        return _parse_seconds(text)
    if kind is Cents:
        return _parse_cents(text)
    if not text or "\0" in text:
        raise ValueError("a text that is not empty")
    return Path(text) if kind is Path else text


def _parse_bool(text: str) -> bool:
    if text.lower() in {"1", "true", "yes", "on"}:
        return True
    if text.lower() in {"0", "false", "no", "off"}:
        return False
    raise ValueError("1 or 0")


def _parse_count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < len(str(2**31))):
        raise ValueError("a whole number from 0 to 999999999")
    return int(text)


def _parse_seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float(2**31):
        raise ValueError("a number of at least 0")
    return number


def _parse_cents(text: str) -> Cents:
    try:
        cents = Decimal(text).scaleb(2)
    except DecimalException:
        cents = Decimal(-1)
    if not (cents.is_finite() and 0 <= cents <= 2**62 and cents == int(cents)):
        raise ValueError("an amount such as 500.00")
    return Cents(cents)
