"""Plain clients of PostgreSQL, which find out when a node takes writes, without any of Rowlock."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import psycopg

PAUSE_S = 0.02
DIAL_S = 2


class Probes:
    """A client of each address, which commits again and again.

    With synchronous replication a commit succeeds once a standby has it, so the first of them on a
    new primary is when that one can take writes that last.

    Each is a thread. One whose server is frozen ends when that one is thawed, or with the process.
    """

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._urls = urls
        self._stop = threading.Event()
        self.commits: defaultdict[str, list[float]] = defaultdict(list)  # by time.monotonic()

    @contextmanager
    def running(self) -> Iterator["Probes"]:
        """Let them commit meanwhile."""
        for name, url in self._urls.items():
            threading.Thread(target=self._commit, args=(name, url), daemon=True).start()
        try:
            yield self
        finally:
            self._stop.set()

    def first_commit(self, name: str, moment: float) -> float | None:
        """When the first commit after `moment` succeeded there; None if none has."""
        return min((at for at in self.commits[name] if at > moment), default=None)

    def _commit(self, name: str, url: str) -> None:
        while not self._stop.is_set():
            try:
                with psycopg.connect(url, autocommit=True, connect_timeout=DIAL_S) as connection:
                    self._commit_on(connection, self.commits[name])
            except psycopg.Error:
                pass  # it is away
            self._stop.wait(PAUSE_S)

    def _commit_on(self, connection: psycopg.Connection, commits: list[float]) -> None:
        """Commit until it does not answer any more; a standby refuses, and is asked again."""
        while not self._stop.wait(PAUSE_S):
            with suppress(psycopg.errors.ReadOnlySqlTransaction):
                connection.execute("INSERT INTO probe VALUES (now())")
                commits.append(time.monotonic())
