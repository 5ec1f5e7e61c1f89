"""What each way to the primary costs a statement, on an idle cluster."""

import time
from statistics import median

import psycopg

from tests.ha.cluster import Cluster
from tests.ha.rounds import DIALLED

ROUNDS = 5
STATEMENTS = 400


def measure(cluster: Cluster) -> str:
    """Return a table, in Markdown: the median time of a round trip, by the way it takes."""
    ways = {
        "hosts": cluster.by_hosts("rowlock") + "?target_session_attrs=read-write",
        "haproxy": cluster.by_proxy("rowlock"),
        "pgbouncer": cluster.by_pooler("rowlock"),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):  # in turn: the machine's speed drifts
        for way, url in ways.items():
            with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
                for _ in range(STATEMENTS):
                    began = time.perf_counter()
                    connection.execute("SELECT 1")
                    times[way].append(time.perf_counter() - began)
    lines = [f"| {DIALLED[way]} | {1e6 * median(taken):.0f} µs |" for way, taken in times.items()]
    return "\n".join(["| Rowlock dials | round trip |", "|---|---|", *lines])
