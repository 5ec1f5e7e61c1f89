"""A replicated cluster for the tests that break one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, make_seed


@pytest.fixture(scope="session")
def cluster_seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a stopped server with both databases, to be copied."""
    return make_seed(tmp_path_factory.mktemp("cluster"))


@pytest.fixture
def cluster(cluster_seed: Path, tmp_path: Path) -> Iterator[Cluster]:
    """A primary and a standby; commits don't wait for it."""
    with Cluster.running(cluster_seed, tmp_path) as cluster:
        yield cluster


@pytest.fixture
def synchronous_cluster(cluster_seed: Path, tmp_path: Path) -> Iterator[Cluster]:
    """A primary and two standbys; a commit waits for one of them."""
    with Cluster.running(cluster_seed, tmp_path, 3, synchronous=True) as cluster:
        yield cluster
