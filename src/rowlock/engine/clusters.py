"""What this process knows of the servers behind a URL with several hosts: which is the primary.

A promotion raises the timeline. Of two primaries the one of the lower timeline is a former one,
which may not know it yet: it was frozen, or cut off. What is written there is lost. So a process
that has seen a timeline uses no server of a lower one from then on.

Timelines can be compared only within a cluster. A process stays with the cluster of the first
primary that it has seen, until it is restarted.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import NamedTuple, Protocol, TypeAlias
from weakref import WeakKeyDictionary

import structlog

Host: TypeAlias = tuple[str, int]

# A primary is not left for another one of the same timeline before it has failed for so long: the
# two may be two ways to one server, or two servers that were promoted at once.
GIVE_UP_S = 2.0
# A host that has failed is tried last for so long.
SHUN_S = 30.0

logger = structlog.get_logger(__name__)


class NotPrimary(ConnectionError):
    """The server is a standby, a former primary, or one of another cluster."""


class Sight(NamedTuple):
    """What a server says of itself."""

    in_recovery: bool
    timeline: int | None  # of a primary
    system_identifier: int  # of the cluster: all its servers have the same


class Primary(NamedTuple):
    """The server that this process writes to."""

    host: Host
    timeline: int
    since: float  # when this process has found it there, in seconds since 1970


class Connection(Protocol):
    """A connection that can be ended at once, by which no statement is cancelled."""

    def abort(self) -> None:
        """End it without a word to the server."""


class _Failing(NamedTuple):
    since: float
    last: float


class Cluster:
    """The servers behind a URL: which is the primary, and which fail.

    Connections are dialled to the last primary first, and to hosts that fail last. When the primary
    changes, the connections to the former one are ended. A dial that waits for a silent server
    ends as soon as another one has found out that it is.
    """

    def __init__(self, hosts: tuple[Host, ...]) -> None:
        self.hosts = hosts
        self.primary: Primary | None = None
        self.changes = 0  # of the primary
        self.is_surveyed = False  # all hosts were asked, and one of them was a primary
        self._identifier: int | None = None  # of the cluster, since a primary of it was seen
        self._timeline = 0  # the highest that was seen
        self._failing: dict[Host, _Failing] = {}
        self._former: set[Host] = set()  # primaries of a lower timeline
        self._foreign: set[Host] = set()  # hosts of another cluster that were logged
        self._said: dict[Host, Sight] = {}  # by the hosts that have answered last
        self._connections: WeakKeyDictionary[Connection, Host] = WeakKeyDictionary()
        self._dials: dict[Host, set[asyncio.Timeout]] = {host: set() for host in hosts}
        self._survey: asyncio.Future[None] | None = None
        self._watched = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Log meanwhile what becomes of the primary. Commands don't: they take what they find."""
        self._watched += 1
        try:
            yield
        finally:
            self._watched -= 1

    def in_order(self) -> Iterator[Host]:
        """Yield the hosts in the order in which to try them."""
        primary = self.primary and self.primary.host
        shunned = time.monotonic() - SHUN_S
        yield from sorted(
            self.hosts,
            key=lambda host: (
                host in self._failing and self._failing[host].last > shunned,
                host != primary,
            ),
        )

    @asynccontextmanager
    async def patience(self, host: Host, seconds: float) -> AsyncIterator[None]:
        """Raise TimeoutError after so long, or as soon as `host` is found silent by another."""
        async with asyncio.timeout(seconds) as term:
            self._dials[host].add(term)
            try:
                yield
            finally:
                self._dials[host].discard(term)

    async def survey(self, ask_all: Callable[[], Awaitable[None]]) -> None:
        """Ask all hosts, unless that was done; callers share the question.

        A former primary may answer first, and nothing but the others tell that it is one.
        """
        if self.is_surveyed:
            return
        loop = asyncio.get_running_loop()
        if self._survey is None or self._survey.done() or self._survey.get_loop() is not loop:
            self._survey = asyncio.ensure_future(ask_all())
        await asyncio.shield(self._survey)
        self.is_surveyed = self.primary is not None

    def failed(self, host: Host) -> None:
        """Note that `host` is out of reach or silent."""
        now = time.monotonic()
        self._said.pop(host, None)
        since = self._failing[host].since if host in self._failing else now
        self._failing[host] = _Failing(since, now)
        self._end_dials(host)

    def saw(self, host: Host, sight: Sight) -> None:
        """Note what `host` says; take it as the primary if it is the one to use."""
        self._failing.pop(host, None)
        self._said[host] = sight
        if self._is_foreign(sight):
            self._note_foreign(host, sight)
            return
        self._foreign.discard(host)
        if sight.in_recovery or sight.timeline is None:
            self._former.discard(host)
            if self.primary is not None and self.primary.host == host:
                self._use(None)
        elif sight.timeline < self._timeline:
            self._note_former(host, sight.timeline)
        elif sight.timeline > self._timeline or self._may_replace():
            self._former.discard(host)
            self._timeline, self._identifier = sight.timeline, sight.system_identifier
            self._use(Primary(host, sight.timeline, time.time()))

    @property
    def foreign(self) -> list[Host]:
        """The hosts of another cluster than the primary, by what they have said last."""
        return [host for host, sight in self._said.items() if self._is_foreign(sight)]

    def agrees(self, host: Host, sight: Sight) -> bool:
        """Tell whether `host` has said the same when it was last heard, over any connection."""
        return self._said.get(host) == sight

    def admit(self, host: Host, sight: Sight, connection: Connection | None = None) -> None:
        """Note what `host` says over a new connection. Raises NotPrimary unless it can be used.

        The connection will be ended when the primary changes.
        """
        self.saw(host, sight)
        if self.primary is None or self.primary.host != host:
            raise NotPrimary(f"{name_of(host)} {self._describe(sight)}")
        if connection is not None:
            self._connections[connection] = host

    def _describe(self, sight: Sight) -> str:
        """Return in words why a server that says so is not used."""
        if self._is_foreign(sight):
            return "belongs to another cluster"
        return "is a standby" if sight.in_recovery else "is a former or another primary"

    def _is_foreign(self, sight: Sight) -> bool:
        return self._identifier not in {None, sight.system_identifier}

    def _note_foreign(self, host: Host, sight: Sight) -> None:
        """Leave `host`, which belongs to another cluster than the primary; log the first time."""
        if self._watched and host not in self._foreign:
            self._foreign.add(host)
            logger.warning(
                "host_of_another_cluster",
                host=name_of(host),
                system_identifier=sight.system_identifier,
                expected=self._identifier,
            )
        if self.primary is not None and self.primary.host == host:
            self._use(None)  # its name leads elsewhere

    def _may_replace(self) -> bool:
        """Tell whether a primary of the same timeline can be used in place of this one."""
        if self.primary is None:
            return True
        failing = self._failing.get(self.primary.host)
        return failing is not None and time.monotonic() - failing.since >= GIVE_UP_S

    def _note_former(self, host: Host, timeline: int) -> None:
        if self._watched and host not in self._former:
            self._former.add(host)
            logger.warning(
                "former_primary_answers",
                host=name_of(host),
                timeline=timeline,
                newest_timeline=self._timeline,
            )

    def _use(self, primary: Primary | None) -> None:
        """Write to `primary` from now on; end what leads elsewhere."""
        was_known, former, self.primary = self.changes > 0, self.primary, primary
        self.changes += 1
        ended = [each for each, host in self._connections.items() if former and former.host == host]
        for connection in ended:
            del self._connections[connection]
            connection.abort()
        if primary is None:
            return
        for host in self.hosts:
            if host != primary.host:
                self._end_dials(host)  # they start again, with the new primary
        if self._watched and was_known:
            logger.warning(
                "primary_changed",
                host=name_of(primary.host),
                timeline=primary.timeline,
                connections_ended=len(ended),
            )

    def _end_dials(self, host: Host) -> None:
        for term in [*self._dials[host]]:
            with suppress(RuntimeError):  # it is over
                term.reschedule(0)


_clusters: dict[str, Cluster] = {}  # by URL


def behind(url: str, hosts: tuple[Host, ...]) -> Cluster:
    """Return what this process knows of the servers behind `url`, which has several hosts."""
    return _clusters.setdefault(url, Cluster(hosts))


def name_of(host: Host) -> str:
    """Return `host` as it is written in a URL."""
    name, port = host
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
