"""The tests. What several modules share is in tests/support."""

import pytest

pytest.register_assert_rewrite("tests.support")
