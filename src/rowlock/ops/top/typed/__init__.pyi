# Made by `rowlock sql stubs` of the headers in src/rowlock/ops/top/sql/
# A test compares.

from rowlock.engine.statements import Registry
from rowlock.ops.top.typed.top import Top

class Queries(Registry):
    top: Top
