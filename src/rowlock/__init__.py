"""Rowlock: a back office on PostgreSQL whose concurrent requests commit together."""

from importlib.metadata import version

__version__ = version("rowlock")
