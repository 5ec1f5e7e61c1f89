"""The settings of single features, grouped as those of groups.py are."""

from dataclasses import dataclass
from decimal import Decimal

from rowlock.settings.kinds import (
    Listed,
    amount,
    count,
    flag,
    http_urls,
    nats_urls,
    seconds,
    share,
    text,
    token,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSettings:
    """Settling orders."""

    approval_rate: float = share(0.5, "share of the orders without a user that is approved")
    processor_poll_s: float = seconds(2, "pause between two sweeps of all pending orders")
    processor_page_orders: int = count(
        8192, "orders found at a time; a process keeps eight times as many in mind"
    )
    processor_batch_orders: int = count(512, "orders settled in one transaction at most")
    processor_attempts: int = count(
        8, "failures caused by an order itself after which it is refused"
    )
    processor_retry_s: float = seconds(1, "pause after an order's first failure; doubles")
    processor_retry_limit_s: float = seconds(60, "longest of these pauses")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSettings:
    """The events service: its intake, how long it keeps events, and its stream."""

    events_batch_deliveries: int = count(8, "deliveries stored in one transaction at most")
    events_retention_months: int = count(
        # A thousand years ago is within PostgreSQL's range of times.
        13, "months for which events are kept, besides the current one", most=12_000
    )  # fmt: skip
    events_ahead_s: float = seconds(
        86_400, "how far ahead of this machine's clock an event's time may be"
    )
    events_months_ahead: int = count(2, "months for which partitions are made in advance")
    events_months_behind: int = count(
        13, "past months for which partitions are made, within the retention"
    )
    events_moved_rows: int = count(
        10_000, "events moved to a new partition at most; the intake waits meanwhile"
    )
    events_unproven_bytes: int = count(
        67_108_864,
        "size of the default partition up to which PostgreSQL reads it to attach a new one, while "
        "the intake waits; of a larger one, a CHECK proves before that it has none of its events",
        least=0,
    )
    partitions_check_s: float = seconds(3600, "pause between two checks of the partitions")
    partitions_retry_s: float = seconds(
        30, "pause before another try when a reader holds a lock; doubles"
    )
    stream_held_events: int = count(2000, "latest events in memory, shared by all streams")
    stream_page_events: int = count(500, "events read at a time for the streams")
    stream_poll_s: float = seconds(
        2, "pause before the next look at the log, where nothing wakes the streams"
    )
    stream_place_s: float = seconds(
        1, "least time between two messages that tell a filtered stream how far it is"
    )
    stream_retry_s: float = seconds(
        2, "pause before a client of a stream connects again; half of it more or less, by chance"
    )
    stream_heartbeat_s: float = seconds(15, "pause between two heartbeats of a stream")
    stream_buffer_bytes: int = count(262_144, "bytes that a stream's client may leave unread")
    stream_stall_s: float = seconds(
        10, "a client that leaves more unread for so long is disconnected"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionSettings:
    """Subscriptions: events that are posted to users' own systems."""

    webhooks_private: bool = flag(
        False,
        "subscriptions may have private and loopback addresses, and in production http ones",
    )
    subscriptions_overlap_s: float = seconds(
        86_400, "how long deliveries are also signed with a secret that was replaced"
    )
    dispatch_page_events: int = count(1000, "events read at a time for the subscriptions")
    dispatch_poll_s: float = seconds(
        1, "pause before the next look at the log, where nothing wakes the dispatcher", least=0.01
    )
    dispatch_gather_s: float = seconds(
        0.05, "least time between two looks; what is delivered meanwhile is written at once"
    )
    dispatch_timeout_s: float = seconds(15, "wait for a receiver's answer", least=0.01)
    dispatch_connect_timeout_s: float = seconds(
        5, "wait for a connection to a receiver", least=0.01
    )
    dispatch_requests: int = count(
        1000, "requests under way; beyond them, each subscription has one at most"
    )
    dispatch_requests_each: int = count(8, "requests under way to one subscription at most")
    dispatch_aside_s: float = seconds(
        2, "a delivery that is not done after so long is noted in the database"
    )
    dispatch_retry_s: float = seconds(
        5, "pause after a delivery's first failure; the later ones in proportion", least=0.01
    )
    dispatch_pause_limit_s: float = seconds(
        60, "longest pause between two attempts at a receiver that keeps failing"
    )
    dispatch_give_up_s: float = seconds(
        432_000, "a subscription that fails for so long is disabled"
    )
    dispatch_pending: int = count(
        100_000, "deliveries of a subscription that may wait; with more, it is disabled"
    )
    deliveries_keep_s: float = seconds(2_592_000, "how long failed deliveries are kept")
    deliveries_keep_delivered: int = count(
        1000, "deliveries of each subscription that are kept, of those that succeeded"
    )
    deliveries_purge_s: float = seconds(60, "pause between two purges of old deliveries")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSettings:
    """Consumers of the log of events."""

    consumers_waiting: int = count(
        2000, "requests of consumers that may wait for events at once, in each process"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsSettings:
    """The sink that publishes all events to NATS JetStream."""

    nats_url: str | None = nats_urls(
        "servers of NATS that all events are published to, such as nats://user:password@host:4222 "
        "or tls://host:4222, with commas between them; needs the extra nats"
    )
    nats_credentials: str | None = text(None, "file with the credentials for NATS (.creds)")
    nats_ca: str | None = text(None, "file with the authorities that NATS' certificate may be from")
    nats_cert: str | None = text(None, "file with the certificate that is shown to NATS")
    nats_key: str | None = text(None, "file with the key of that certificate")
    nats_replicas: int = count(
        1, "replicas of the stream, where it is missing and made; an existing one stays", most=5
    )
    nats_in_flight: int = count(4096, "events published to NATS and not yet acknowledged at most")
    nats_timeout_s: float = seconds(
        5, "wait for an answer of NATS after which its connection is given up", least=0.1
    )
    nats_retry_s: float = seconds(0.5, "pause after a failed connection to NATS; doubles")
    nats_retry_limit_s: float = seconds(15, "longest of these pauses")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectSettings:
    """Projects, their feeds and their webhooks."""

    projects_domain: str = text(
        "rowlock.example", "domain of the name that a project's first live deployment gets"
    )
    events_timeout_s: float = seconds(3, "wait for the events service's answer to a feed's request")
    webhook_keep_s: float = seconds(
        604_800, "how long signed webhooks are remembered, against replays"
    )
    webhook_purge_s: float = seconds(3600, "pause between two purges of remembered webhooks")
    webhook_overlap_s: float = seconds(
        86_400, "how long a secret that was replaced still proves webhooks"
    )
    deployment_limit_s: float = seconds(
        86_400, "an ongoing deployment that nothing has reported on for so long fails"
    )
    # The limit's name in release 0.2.0.
    deployment_timeout_s: float | None = seconds(
        None, "former name of ROWLOCK_DEPLOYMENT_LIMIT_S; set one of the two"
    )
    deployment_sweep_s: float = seconds(10, "pause between two looks for such deployments")
    webhook_tolerance_s: int = count(300, "seconds by which a signed webhook's time may be off")

    @property
    def silence_s(self) -> float:
        """For how long an ongoing deployment may go without a report, by either name."""
        former = self.deployment_timeout_s
        return self.deployment_limit_s if former is None else former


@dataclass(frozen=True, slots=True, kw_only=True)
class BenefitSettings:
    """The benefits shop."""

    opening_balance: Decimal = amount(
        "500.00", "balance of a new user of the benefits shop, in major units"
    )
    benefits_open_accounts: bool = flag(
        True, "whether the benefits shop opens an account for an unknown user; off: a 404"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSettings:
    """Pages for people: the console and the shop."""

    shop: bool | None = flag(
        None,
        "whether commerce serves the shop; unset: in development on this machine alone",
    )
    shop_link_s: float = seconds(
        3600, "how long a link to sign in to the shop is valid, unless the command says otherwise"
    )

    cookie_key: str = token(
        "development-cookie-key", "encrypts the cookies of pages; all processes need the same"
    )
    cookie_key_before: str | None = token(
        None, "the one before: cookies that it has encrypted are still taken"
    )
    session_s: float = seconds(43_200, "how long a session of pages lasts", least=60)
    sign_ins_per_minute: int = count(
        10, "tries to sign in that an address has in a minute, in each process"
    )
    pages_refresh_s: float = seconds(
        5, "pause between two renewals of the live parts of a page", least=0.5
    )
    rail_s: float = seconds(3, "how old the counts in the console's rail may be")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """What the console's overview shows."""

    console_targets: Listed[str] = http_urls(
        "services of other machines whose /metrics and /readyz the console shows: URLs such as "
        "http://host:4000, with commas between them; ROWLOCK_METRICS_TOKEN opens their /metrics"
    )
    console_sample_s: float = seconds(
        5,
        "pause between two samples for the console's charts, six times as long while no overview "
        "is open",
        least=0.5,
    )
