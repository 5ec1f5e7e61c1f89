"""Which requests want more than a list that may be some seconds old."""

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from rowlock.http.freshness import CACHE_CONTROL, wants_fresh


@pytest.mark.parametrize(
    ("values", "fresh"),
    [
        ([], False),
        (["no-cache"], True),
        (["No-Cache"], True),
        (["no-store"], True),
        (["max-age=0"], True),
        (["private,no-cache"], True),
        (["private", " no-cache "], True),
        (["max-age=60"], False),
        (["max-age=00"], False),
        (["only-if-cached, max-stale"], False),
        (["no-cached"], False),
        ([""], False),
    ],
)
def test_wants_fresh__cache_control__as_it_says(values: list[str], fresh: bool) -> None:
    headers = CIMultiDict((str(CACHE_CONTROL), value) for value in values)
    assert wants_fresh(make_mocked_request("GET", "/", headers=headers)) is fresh
