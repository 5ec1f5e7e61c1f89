"""Which of several servers a process uses, by what they have said."""

import pytest
from structlog.testing import capture_logs

from rowlock.engine import clusters
from rowlock.engine.clusters import Cluster, Host, NotPrimary, Sight

A, B, C = HOSTS = ("a", 1), ("b", 2), ("c", 3)
OURS, OTHER = 7_001, 7_002  # clusters
STANDBY = Sight(in_recovery=True, timeline=None, system_identifier=OURS)


def primary(timeline: int, cluster: int = OURS) -> Sight:
    return Sight(in_recovery=False, timeline=timeline, system_identifier=cluster)


class Line:
    """A connection that knows whether it was ended."""

    ended = False

    def abort(self) -> None:
        self.ended = True


class Clock:
    """time.monotonic, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(clusters, "time", clock)
    return clock


@pytest.fixture
def cluster(clock: Clock) -> Cluster:
    """Three hosts, of which A is the primary, on timeline 4."""
    cluster = Cluster(HOSTS)
    for host, sight in zip(HOSTS, (primary(4), STANDBY, STANDBY), strict=True):
        cluster.saw(host, sight)
    return cluster


def used(cluster: Cluster) -> Host | None:
    return None if cluster.primary is None else cluster.primary.host


def test_order__nothing_known__as_in_the_url() -> None:
    assert tuple(Cluster(HOSTS).in_order()) == HOSTS


def test_order__primary_known__it_is_first() -> None:
    cluster = Cluster(HOSTS)
    cluster.saw(B, primary(1))
    assert tuple(cluster.in_order()) == (B, A, C)


def test_order__host_failed_lately__last_until_it_answers_or_a_while_has_passed(
    cluster: Cluster, clock: Clock
) -> None:
    cluster.failed(A)
    assert tuple(cluster.in_order()) == (B, C, A)
    cluster.saw(A, primary(4))
    assert tuple(cluster.in_order()) == HOSTS
    cluster.failed(A)
    clock.now += clusters.SHUN_S
    assert tuple(cluster.in_order()) == HOSTS


def test_promotion__higher_timeline__used_at_once_and_the_old_connections_end(
    cluster: Cluster,
) -> None:
    old, new = Line(), Line()
    cluster.admit(A, primary(4), old)
    cluster.saw(B, primary(5))
    cluster.admit(B, primary(5), new)
    assert used(cluster) == B
    assert (old.ended, new.ended) == (True, False)


def test_former_primary__answers_again__never_used(cluster: Cluster) -> None:
    cluster.saw(B, primary(5))
    cluster.saw(A, primary(4))
    assert used(cluster) == B
    for _ in range(2):  # not even while the new one fails, however long
        with pytest.raises(NotPrimary):
            cluster.admit(A, primary(4))
        cluster.failed(B)
    cluster.saw(B, STANDBY)
    with pytest.raises(NotPrimary):
        cluster.admit(A, primary(4))
    assert used(cluster) is None


def test_former_primary__seen_first_by_a_new_process__replaced_by_the_newer() -> None:
    cluster = Cluster(HOSTS)
    cluster.saw(A, primary(4))
    cluster.saw(B, primary(5))
    assert used(cluster) == B


def test_same_timeline__another_primary__only_once_the_first_has_failed_for_a_while(
    cluster: Cluster, clock: Clock
) -> None:
    line = Line()
    cluster.admit(A, primary(4), line)
    cluster.saw(B, primary(4))
    cluster.failed(A)
    with pytest.raises(NotPrimary):
        cluster.admit(B, primary(4))
    clock.now += clusters.GIVE_UP_S - 0.1
    cluster.failed(A)
    cluster.saw(B, primary(4))
    assert (used(cluster), line.ended) == (A, False)
    clock.now += 0.1
    cluster.saw(B, primary(4))
    assert (used(cluster), line.ended) == (B, True)


def test_same_timeline__first_answers_now_and_then__kept(cluster: Cluster, clock: Clock) -> None:
    for _ in range(5):
        cluster.failed(A)
        clock.now += clusters.GIVE_UP_S - 0.1
        cluster.saw(B, primary(4))
        cluster.saw(A, primary(4))
    assert used(cluster) == A


def test_primary__silent_and_no_other__kept(cluster: Cluster, clock: Clock) -> None:
    line = Line()
    cluster.admit(A, primary(4), line)
    for _ in range(100):
        cluster.failed(A)
        cluster.saw(B, STANDBY)
        clock.now += 1
    assert (used(cluster), line.ended) == (A, False)


def test_primary__becomes_a_standby__its_connections_end_and_none_is_used(
    cluster: Cluster,
) -> None:
    line = Line()
    cluster.admit(A, primary(4), line)
    cluster.saw(A, STANDBY)
    assert (used(cluster), line.ended) == (None, True)
    with pytest.raises(NotPrimary, match="b:2 is a standby"):
        cluster.admit(B, STANDBY)


def test_primary__promoted_again_where_it_is__its_old_connections_end(cluster: Cluster) -> None:
    line = Line()
    cluster.admit(A, primary(4), line)
    cluster.saw(A, primary(5))
    assert (used(cluster), line.ended) == (A, True)


def test_other_cluster__higher_timeline__never_used_and_logged_once(
    cluster: Cluster, clock: Clock
) -> None:
    line = Line()
    cluster.admit(A, primary(4), line)
    with capture_logs() as lines, cluster.watched():
        for _ in range(2):
            cluster.failed(A)
            clock.now += clusters.GIVE_UP_S
            cluster.saw(B, primary(9, OTHER))
    assert (used(cluster), line.ended, cluster.foreign) == (A, False, [B])
    assert [line["event"] for line in lines] == ["host_of_another_cluster"]
    with pytest.raises(NotPrimary, match="b:2 belongs to another cluster"):
        cluster.admit(B, primary(9, OTHER))
    cluster.saw(B, primary(5))  # its name leads to ours again
    assert (used(cluster), cluster.foreign) == (B, [])


def test_other_cluster__in_the_primarys_place__no_primary_until_ours_is_back(
    cluster: Cluster,
) -> None:
    line = Line()
    cluster.admit(A, primary(4), line)
    cluster.saw(A, primary(4, OTHER))
    assert (used(cluster), line.ended) == (None, True)
    cluster.saw(B, primary(5))
    assert used(cluster) == B


def test_other_cluster__answers_before_the_primary__named_all_the_same() -> None:
    cluster = Cluster(HOSTS)
    cluster.saw(B, Sight(in_recovery=True, timeline=None, system_identifier=OTHER))
    cluster.saw(A, primary(4))
    assert cluster.foreign == [B]


def test_name__ipv6__in_brackets() -> None:
    assert clusters.name_of(("::1", 5432)) == "[::1]:5432"
