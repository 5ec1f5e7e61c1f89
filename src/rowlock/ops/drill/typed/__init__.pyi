# Made by `rowlock sql stubs` of the headers in src/rowlock/ops/drill/sql/
# A test compares.

from rowlock.engine.statements import Registry
from rowlock.ops.drill.typed.drill import Drill
from rowlock.ops.drill.typed.drill_events import DrillEvents

class Queries(Registry):
    drill: Drill
    drill_events: DrillEvents
