"""The console: pages for operators, over the same features and lanes as the API.

Each place of the rail is a module with its pages: `orders` shows how one is made. What a page does,
it does by a lane, so it leaves the same events, with the actor `console:NAME`.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from rowlock.accounts import Accounts
from rowlock.catalogue import Catalogue
from rowlock.consumers import Consumers
from rowlock.delivery.dead_letters import DeadLetters
from rowlock.engine.database import Database
from rowlock.engine.jobs import Jobs
from rowlock.events import Events
from rowlock.http.outbound import Outbound
from rowlock.invoices import Invoices
from rowlock.orders import Orders
from rowlock.projects import Projects
from rowlock.refunds import Refunds
from rowlock.service_orders import ServiceOrders
from rowlock.subscriptions import Subscriptions
from rowlock.transfers import Transfers


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """The features that the console shows, on the main database and on that of the events."""

    main: Database
    log: Database
    draining: asyncio.Event  # set: live parts must end
    accounts: Accounts
    catalogue: Catalogue
    consumers: Consumers
    dead_letters: DeadLetters
    events: Events
    invoices: Invoices
    jobs: Jobs  # on the main database
    log_jobs: Jobs
    neighbours: Mapping[str, str]  # URLs of the services that are asked how they are, by name
    orders: Orders
    outbound: Outbound
    projects: Projects
    refunds: Refunds
    service_orders: ServiceOrders
    subscriptions: Subscriptions
    transfers: Transfers
