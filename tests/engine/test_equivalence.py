"""The check that batches equal one command at a time finds where they do not."""

from collections.abc import Sequence

import pytest
from hypothesis import strategies as st

from rowlock.engine.database import Connection
from tests.support.databases import Databases
from tests.support.equivalence import Feature, History, assert_batches_equal_one_at_a_time


async def tell_size(_connection: Connection, commands: Sequence[int]) -> list[int]:
    return [len(commands)] * len(commands)


def test_batches__their_size_matters__found(main_databases: Databases) -> None:
    feature = Feature(executors={int: tell_size}, comparable=lambda size: size, state={})
    sizes: st.SearchStrategy[History] = st.lists(st.lists(st.integers(), max_size=3), max_size=3)
    with pytest.raises(AssertionError, match="together"):
        assert_batches_equal_one_at_a_time(main_databases, feature, sizes, examples=15)
