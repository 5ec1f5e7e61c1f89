"""Commerce: all that moves money, and what is sold and booked."""

from rowlock.accounts import Accounts
from rowlock.accounts.routes import AccountRoutes
from rowlock.benefits import Benefits
from rowlock.benefits.routes import BenefitRoutes
from rowlock.catalogue import Catalogue
from rowlock.catalogue.routes import CatalogueRoutes
from rowlock.engine.database import Connection
from rowlock.engine.retention import purge_answers
from rowlock.engine.statements import queries
from rowlock.engine.wakes import Wakes
from rowlock.http.metrics import State
from rowlock.http.routes import Routes
from rowlock.http.service import Context, Parts, Service
from rowlock.invoices import Invoices
from rowlock.invoices.routes import InvoiceRoutes
from rowlock.keys.routes import KeyRoutes
from rowlock.orders import CHANNEL, Orders
from rowlock.orders.processor import Processor
from rowlock.orders.routes import OrderRoutes
from rowlock.pages.trying import TryPages, open_plain
from rowlock.refunds import Refunds
from rowlock.refunds.routes import RefundRoutes
from rowlock.service_orders import ServiceOrders
from rowlock.service_orders.routes import ServiceOrderRoutes
from rowlock.services.parts import deliver, measure_outbox, open_keys
from rowlock.settings.names import DatabaseName, ServiceName
from rowlock.shop.pages import open_shop
from rowlock.transfers import Transfers
from rowlock.transfers.routes import TransferRoutes

ROUTES: tuple[type[Routes], ...] = (
    BenefitRoutes,
    OrderRoutes,
    RefundRoutes,
    AccountRoutes,
    InvoiceRoutes,
    TransferRoutes,
    ServiceOrderRoutes,
    CatalogueRoutes,
    KeyRoutes,
)
# What a key can be good for here.
SCOPES = frozenset[str]().union(*(routes.scopes() for routes in ROUTES))


def _build(context: Context) -> Parts:
    database, settings, meter = context.database, context.settings, context.meter
    accounts = Accounts(database, settings.batches)
    benefits = Benefits(database, settings.batches, settings.benefits, settings.money, accounts)
    wakes = Wakes(database, settings.tasks.processor_notify_s)
    orders = Orders(database, settings.batches, settings.orders, wakes.on(CHANNEL))
    refunds = Refunds(database, settings.batches)
    invoices = Invoices(database, settings.batches)
    transfers = Transfers(database, settings.batches)
    service_orders = ServiceOrders(database, settings.batches)
    catalogue = Catalogue(database, settings.batches)
    keys = open_keys(ServiceName.COMMERCE, database, settings.batches)

    async def measure(connection: Connection, counted: int) -> State:
        pending = orders.pending
        [row] = await queries.metrics.measure_commerce(
            connection, counted=counted, floor=pending.floor, left_ids=list(pending.left)
        )
        return {
            "orders_pending": row["orders_pending"],
            "orders_age_s": row["orders_age_s"],
            **await measure_outbox(connection, counted),
        }

    features = (
        benefits,
        orders,
        refunds,
        accounts,
        invoices,
        transfers,
        service_orders,
        catalogue,
        keys,
    )
    return Parts(
        features=features,
        routes=(
            BenefitRoutes(benefits, settings.money.decimals),
            OrderRoutes(orders),
            RefundRoutes(refunds, orders),
            AccountRoutes(accounts),
            InvoiceRoutes(invoices),
            TransferRoutes(transfers),
            ServiceOrderRoutes(service_orders),
            CatalogueRoutes(catalogue),
            KeyRoutes(keys, SCOPES),
        ),
        tasks=(
            Processor(orders, meter, log_settlements=settings.logs.log_requests).task,
            *deliver(context, wakes, features),
            purge_answers(database, settings),
        ),
        keyring=keys.ring,
        backlog=measure,
        site=(
            open_shop(settings, benefits, accounts, orders, catalogue, TryPages(settings))
            if settings.has_shop
            else open_plain(settings)
        ),
    )


COMMERCE = Service(
    name=ServiceName.COMMERCE,
    database=DatabaseName.MAIN,
    build=_build,
    port=lambda settings: settings.addresses.commerce_port,
    public_url=lambda settings: settings.addresses.public_commerce_url,
    token=lambda settings: settings.addresses.commerce_token,
    body_bytes=lambda settings: settings.http.body_bytes,
    bodies_bytes=lambda settings: settings.http.bodies_bytes,
    client_rate=lambda settings: settings.http.client_rate,
    examples=(
        "/api/users/johndoe",
        "/user/1",
        "/invoices/1",
        "/orders?limit=3",
        "/service-orders/223",
    ),
    has_money=True,
)
