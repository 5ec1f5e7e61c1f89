# Made by `rowlock sql stubs` of the headers in sql/
# A test compares.

from rowlock.engine.statements import Registry
from rowlock.engine.typed.accounts import Accounts
from rowlock.engine.typed.benefits import Benefits
from rowlock.engine.typed.database import Database
from rowlock.engine.typed.events import Events
from rowlock.engine.typed.idempotency import Idempotency
from rowlock.engine.typed.invoices import Invoices
from rowlock.engine.typed.leases import Leases
from rowlock.engine.typed.metrics import Metrics
from rowlock.engine.typed.orders import Orders
from rowlock.engine.typed.outbox import Outbox
from rowlock.engine.typed.projects import Projects
from rowlock.engine.typed.seed import Seed
from rowlock.engine.typed.service_orders import ServiceOrders

class Queries(Registry):
    accounts: Accounts
    benefits: Benefits
    database: Database
    events: Events
    idempotency: Idempotency
    invoices: Invoices
    leases: Leases
    metrics: Metrics
    orders: Orders
    outbox: Outbox
    projects: Projects
    seed: Seed
    service_orders: ServiceOrders
