"""A cluster of PostgreSQL servers with streaming replication, for tests to break."""

from pathlib import Path

import psycopg

from rowlock.ops.drill import cluster
from rowlock.ops.drill.cluster import Node
from tests.support.processes import free_port

__all__ = ["Cluster", "Node", "make_seed"]

# They are faster so, and no test cuts the power.
SETTINGS = """
fsync = off
"""


class Cluster(cluster.Cluster):
    """A cluster on ports that no other pytest takes."""

    free_port = staticmethod(free_port)


def make_seed(folder: Path) -> Path:
    """Make the data of a server that is stopped, with both databases, migrated and with a user."""
    data = cluster.make_seed(folder, free_port(), SETTINGS)
    node = Node("seed", data, free_port())
    node.start()
    try:
        with psycopg.connect(node.url()) as connection:
            connection.execute("INSERT INTO users (username) VALUES ('ada')")
    finally:
        node.stop()
    return data
