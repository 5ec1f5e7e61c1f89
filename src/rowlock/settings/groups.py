"""Every setting and limit, grouped by the part that uses it.

The field `batch_items` is `ROWLOCK_BATCH_ITEMS`. Names end in their unit: `_s` seconds, `_bytes`;
everything else without one is a count.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from rowlock.settings import database_urls
from rowlock.settings.kinds import (
    HIGHEST_TIMEOUT_S,
    Listed,
    choice,
    count,
    flag,
    http_url,
    networks,
    origins,
    path,
    port,
    postgres_url,
    seconds,
    text,
    token,
)
from rowlock.settings.names import DatabaseName, server_url

DEVELOPMENT_TOKENS = frozenset(
    {
        "development-projects-token",
        "development-events-token",
        "development-console-token",
        "development-cookie-key",
    }
)
SCOPE = r"[!#-\[\]-~]+"  # RFC 6749, 3.3
EVENTS_DATABASE = "rowlock_events"  # where it has no URL of its own
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is logged."""

    log_level: str = choice("info", "least severe level that is logged", *LOG_LEVELS)
    log_requests: bool = flag(True, "whether each request, settlement and delivery is logged")
    log_buffer_bytes: int = count(1_048_576, "log lines that wait to be written; more are dropped")
    log_repeat_s: float = seconds(
        5, "least time between two equal warnings; the later one says how many were left out"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressSettings:
    """The addresses of the services, and the tokens that they take."""

    host: str = text("127.0.0.1", "the address that all services listen on")
    commerce_port: int = port(4000, "of the commerce service")
    projects_port: int = port(3000, "of the projects service")
    events_port: int = port(3001, "of the events service")
    console_port: int = port(4001, "of the console")
    events_url: str | None = http_url(
        None, "address of the events service; unset: ROWLOCK_EVENTS_PORT on this machine"
    )
    events_plain: bool = flag(
        False, "production: ROWLOCK_EVENTS_URL may be http, through a network of your own"
    )
    public_commerce_url: str | None = http_url(
        None,
        "public URL of the commerce service, for links in its answers; unset: from each request",
    )
    public_projects_url: str | None = http_url(
        None,
        "public URL of the projects service, for links in its answers; unset: from each request",
    )
    public_events_url: str | None = http_url(
        None, "public URL of the events service, for links in its answers; unset: from each request"
    )
    public_console_url: str | None = http_url(
        None, "public URL of the console, for its redirects; unset: from each request"
    )
    commerce_token: str | None = token(None, "opens the commerce service; unset: it is open")
    commerce_public: bool = flag(
        False, "the commerce service is open on purpose, to others or in production"
    )
    projects_token: str = token("development-projects-token", "opens the projects service")
    events_token: str = token("development-events-token", "opens the events service")
    console_token: str = token(
        "development-console-token",
        "opens the console; in production it is served only where this is set",
    )
    console_viewer_token: str | None = token(
        None, "opens the console to look at, not to act; unset: there are no such visitors"
    )
    metrics_token: str | None = token(
        None, "opens /metrics of every service; unset: each service's own token does"
    )

    @property
    def events_address(self) -> str:
        """The URL of the events service, without a slash at its end."""
        return (self.events_url or server_url(self.host, self.events_port)).rstrip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth0Settings:
    """The Auth0 tenant whose tokens the projects service takes beside its own."""

    auth0_domain: str | None = text(
        None, "the tenant's domain", "[A-Za-z0-9.-]+", "example.eu.auth0.com"
    )
    auth0_audience: str | None = text(None, "the API's identifier at the tenant")
    auth0_read_scope: str | None = text(
        None,
        "scope that a tenant's token needs to read; unset: none",
        SCOPE,
        "read:projects",
    )
    auth0_write_scope: str | None = text(
        None, "scope that it needs to write; unset: none", SCOPE, "write:projects"
    )
    auth0_url: str | None = http_url(None, "address of the tenant's keys; unset: at its domain")
    auth0_timeout_s: float = seconds(3, "wait for the keys to be fetched")
    auth0_refetch_s: float = seconds(60, "least time between two fetches of the keys")
    auth0_retry_s: float = seconds(1, "pause after a failed fetch while there are no keys at all")
    auth0_keys_s: float = seconds(3600, "age at which the keys are fetched again")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """The databases' URLs, and the pools and timeouts of their connections."""

    database_url: str | None = postgres_url(None, "the main database; unset: the embedded server")
    events_database_url: str | None = postgres_url(
        None, "the events database; unset: rowlock_events on the same server"
    )
    read_database_url: str | None = postgres_url(
        None,
        "standbys of the main database, which lists are read from; unset: lists read the primary",
    )
    events_read_database_url: str | None = postgres_url(
        None,
        "standbys of the events database; unset: rowlock_events at ROWLOCK_READ_DATABASE_URL, "
        "unless ROWLOCK_EVENTS_DATABASE_URL is set",
    )
    read_lag_s: float = seconds(
        5, "longest time that lists may be behind; a standby beyond it is not read from", least=1
    )
    prepared_statements: bool = flag(
        True, "whether statements stay prepared; 0 is for a pooler that loses them"
    )
    pool_connections: int = count(12, "connections of each service's pool; half of them for lists")
    pool_queue: int = count(1024, "lists that wait for a connection; one more is a 503")
    connect_timeout_s: float = seconds(3, "wait for a connection to open")
    acquire_timeout_s: float = seconds(3, "wait for a free connection of the pool")
    watch_s: float = seconds(
        0.5,
        "pause between two questions to each of several hosts for the primary, and to each standby "
        "for how far it is",
        least=0.05,
    )
    statement_timeout_s: float = seconds(
        5,
        "longest time of a statement; the client allows a second more",
        least=0.001,
        most=HIGHEST_TIMEOUT_S,
    )
    lock_timeout_s: float = seconds(
        0.5, "longest wait for one lock", least=0.001, most=HIGHEST_TIMEOUT_S
    )
    idle_in_transaction_timeout_s: float = seconds(
        10, "longest pause within a transaction before the server ends it", most=HIGHEST_TIMEOUT_S
    )

    @property
    def read_urls(self) -> Mapping[str, str]:
        """The URLs of the standbys, by the names of the databases that have some."""
        main, events = self.read_database_url, self.events_read_database_url
        if main is not None and events is None and self.events_database_url is None:
            events = database_urls.beside(main, EVENTS_DATABASE)
        urls = {DatabaseName.MAIN: main, DatabaseName.EVENTS: events}
        return {str(name): url for name, url in urls.items() if url is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedSettings:
    """The embedded server, which runs the databases that have no URL."""

    data_dir: Path = path(".rowlock", "folder of the embedded server's data")
    embedded_start_timeout_s: float = seconds(
        60, "wait for the embedded server to start, including recovery after a crash"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """Group commit, group read, and idempotency keys."""

    batch_items: int = count(512, "commands in one transaction, or keys in one read, at most")
    batch_answers: int = count(8, "answers handed out in a row before the event loop's next turn")
    batch_queue: int = count(2048, "items that wait for one kind of batch; one more is a 503")
    batch_wait_s: float = seconds(2, "longest wait of an item for its batch; then it is a 503")
    batch_patience_s: float = seconds(
        0.2, "longest wait of a batch for one row; then what needs the row waits aside", least=0.001
    )
    batch_attempts: int = count(3, "attempts at a batch that meets a deadlock")
    batch_retry_s: float = seconds(0.02, "longest pause before the next attempt")
    idempotency_keep_s: float = seconds(86_400, "age at which an idempotency key may be used again")
    idempotency_purge_s: float = seconds(60, "pause between two purges of old idempotency keys")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Limits on requests and connections, and which pages and proxies are trusted."""

    body_bytes: int = count(65_536, "largest body that commerce and projects accept")
    events_body_bytes: int = count(8_388_608, "largest body that the events service accepts")
    invoices_body_bytes: int = count(2_097_152, "largest body of a batch of invoices")
    webhook_body_bytes: int = count(16_384, "largest body of a webhook")
    body_values: int = count(
        250_000, "most values in a body, names included; a text may count as several"
    )
    bodies_bytes: int = count(
        8_388_608, "bytes of bodies in a process at once, for commerce and for projects"
    )
    events_bodies_bytes: int = count(
        8_388_608, "bytes of bodies in a process at once, for the events service"
    )
    webhook_bodies_bytes: int = count(
        2_097_152, "bytes of webhooks' bodies in a process at once; they have a budget of their own"
    )
    bodies_queue: int = count(64, "requests that wait for room for their body; one more is a 503")
    head_bytes: int = count(32_768, "largest request line and headers in all; more is a 431")
    heads_bytes: int = count(8_388_608, "bytes of incomplete heads in a process at once")
    connections: int = count(
        4096, "connections to each service of a process; one more gets a 503 and is closed"
    )
    client_rate: int = count(
        0,
        "requests a second of one client to commerce or projects, in each process; 0: no limit",
        least=0,
        most=1_000_000,
    )
    headers_timeout_s: float = seconds(10, "wait for a request's headers, from their first byte")
    body_timeout_s: float = seconds(20, "wait for a request's body")
    write_timeout_s: float = seconds(20, "wait for a client to read what is written to it")
    linger_timeout_s: float = seconds(
        5, "wait for the rest of a body whose request has been answered"
    )
    keepalive_timeout_s: float = seconds(75, "wait for a connection's next request")
    turn_requests: int = count(16, "requests let in per turn of the event loop; the others wait")
    turn_wait_s: float = seconds(2, "longest wait of a request to be let in; then it is a 503")
    readiness_timeout_s: float = seconds(
        2, "wait for the database's answer to /readyz; half of ROWLOCK_READINESS_EVERY_S at most"
    )
    readiness_every_s: float = seconds(
        1,
        "least time between two checks of the database for /readyz; requests share a check",
        least=0.1,
    )
    retry_after_s: int = count(1, "seconds that a 503 tells the client to wait at least")
    retry_after_limit_s: int = count(
        5,
        "most of these seconds, where as many are refused or wait as ROWLOCK_BATCH_QUEUE lets wait",
    )
    cors_origins: Listed[str] = origins(
        "origins whose pages may use commerce and projects; unset: only their own"
    )
    trusted_proxies: Listed[IPv4Network | IPv6Network] = networks(
        "proxies whose X-Forwarded-* or Forwarded headers are trusted"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """How a process listens and ends, and its workers."""

    backlog: int = count(2048, "connections that wait to be accepted")
    workers: int = count(1, "processes that serve")
    worker_start_timeout_s: float = seconds(60, "wait for a worker to listen")
    worker_silence_s: float = seconds(
        30, "a worker that is silent for so long is stuck, and is killed", least=1
    )
    worker_retry_s: float = seconds(
        0.2, "pause before a worker that died at once is started again; doubles"
    )
    worker_retry_limit_s: float = seconds(
        5, "longest of these pauses; a worker that lived longer is replaced without one"
    )
    handshake_timeout_s: float = seconds(
        0.1, "on shutdown, wait for connections that are being made"
    )
    drain_idle_s: float = seconds(1, "on shutdown, time for idle connections to send one request")
    drain_timeout_s: float = seconds(8, "on shutdown, time for the requests under way")
    stop_timeout_s: float = seconds(0.6, "on shutdown, time for everything else")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """`/metrics`."""

    metrics_sample_s: float = seconds(
        1, "pause between two samples of queues and pool, after which workers share durations, too"
    )
    metrics_timeout_s: float = seconds(1, "wait for each of a scrape's two queries")
    metrics_rows: int = count(100_000, "most rows of the backlog that a scrape counts, per kind")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """All background tasks."""

    task_retry_s: float = seconds(0.2, "pause before a failed task starts again; doubles")
    task_retry_limit_s: float = seconds(5, "longest of these pauses")
    task_healthy_s: float = seconds(
        1, "a restarted task that has run for so long counts as healthy"
    )
    housekeeping_rows: int = count(5000, "rows that one statement of a purge removes at most")
    # For every task that is woken: it is named after the first one, the order processor.
    processor_notify_s: float = seconds(
        0.02, "pause between two NOTIFYs that wake the tasks of other processes"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """Leadership: how long a lease lasts, and how often processes ask for one."""

    lease_s: float = seconds(
        10, "a leader that has not renewed its lease for so long loses it", least=0.1
    )
    lease_renew_s: float = seconds(3, "pause between two renewals of a lease", least=0.01)
    # For every lease: it is named after the first one, the relay's.
    relay_lead_poll_s: float = seconds(1, "pause between two tries to take a lease")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """The relay, which takes events from the outbox to the events service."""

    relay_batch_events: int = count(1000, "events in one delivery at most")
    relay_poll_s: float = seconds(
        2, "pause before the next look at the outbox, where nothing wakes the relay"
    )
    relay_gather_s: float = seconds(
        0.05, "least time between two looks at the outbox, unless the first one filled a delivery"
    )
    relay_timeout_s: float = seconds(10, "wait for the events service's answer to a delivery")
    relay_retry_s: float = seconds(0.1, "pause after a delivery's first failure; doubles")
    relay_retry_limit_s: float = seconds(15, "longest of these pauses")
    relay_batch_attempts: int = count(
        3, "failures of a delivery in a row after which smaller ones are tried"
    )
    relay_event_attempts: int = count(
        8, "failures of an event alone after which it is parked, if another one goes through"
    )
    relay_check_s: float = seconds(
        15,
        "pause after which a relay without events asks whether the events service still has what "
        "it took",
        least=0.01,
    )
    outbox_keep_s: float = seconds(
        3600,
        "how long delivered events stay in the outbox, for an events service that loses them",
    )
    outbox_keep_events: int = count(
        1_000_000, "delivered events that stay in the outbox at most", least=0
    )
    outbox_purge_s: float = seconds(10, "pause between two purges of delivered events")
    dead_letters_keep_s: float = seconds(
        7_776_000, "age at which a dead letter is removed, counted from its last refusal"
    )
    dead_letters_purge_s: float = seconds(3600, "pause between two purges of old dead letters")
