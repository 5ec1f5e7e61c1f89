"""What is tallied is in the histogram, as if each value had been observed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from rowlock.engine.metrics import COUNTS, SECONDS, Tally

NOW_AND_THEN = st.booleans()  # whether it is flushed then


@pytest.mark.parametrize("bounds", [SECONDS, COUNTS])
def test_tally__any_values__as_observed(bounds: tuple[float, ...]) -> None:
    values = st.sampled_from([0.0, *bounds, 1e6]) | st.floats(0, 20)

    @given(st.lists(st.tuples(values, NOW_AND_THEN)))
    def check(counted: list[tuple[float, bool]]) -> None:
        tallied, observed = (
            Histogram("test", "A test.", buckets=bounds, registry=CollectorRegistry())
            for _ in range(2)
        )
        tally = Tally(tallied)
        for value, is_flushed in counted:
            tally.add(value)
            observed.observe(value)
            if is_flushed:
                tally.flush()
        tally.flush()
        assert samples(tallied) == pytest.approx(samples(observed))

    check()


def samples(histogram: Histogram) -> dict[str, float]:
    [family] = histogram.collect()
    return {f"{each.name}{each.labels}": each.value for each in family.samples}
