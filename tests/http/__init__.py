# ruff: noqa: A005  (tests.http shadows nothing)
