"""What lets `make ha` fail: wrong answers do, a slow machine does not."""

from collections import Counter

import pytest

from tests.ha import report
from tests.ha.rounds import FAULTS, Line, Result


def result(
    fault: str = "kill", *, share_s: float = 0.1, errors: int = 0, lost: tuple[str, ...] = ()
) -> Result:
    line = Line("hosts", 20.0, share_s, 100, Counter({201: 100, 500: errors}), errors)
    return Result(FAULTS[fault], 20.0, 20.0, [line], 100, list(lost), [], [])


@pytest.mark.parametrize("fault", FAULTS)
def test_round__slow_and_right__is_told_and_not_missed(fault: str) -> None:
    assert report.missed([result(fault, share_s=30.0)]) == []
    [told] = report.slow([result(fault, share_s=30.0)])
    assert "30.00 s" in told


def test_round__quick_and_right__is_neither() -> None:
    assert report.missed([result()]) == report.slow([result()]) == []


@pytest.mark.parametrize("wrong", [result(errors=1), result(lost=("order 1",))])
def test_round__error_or_loss__is_missed(wrong: Result) -> None:
    assert len(report.missed([wrong])) == 1


def test_asynchronous_round__loss__is_not_missed() -> None:
    assert report.missed([result("lag", lost=("order 1",))]) == []
