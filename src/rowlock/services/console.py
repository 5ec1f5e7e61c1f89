"""The console: pages over the features of all services."""

from rowlock.accounts import Accounts
from rowlock.catalogue import Catalogue
from rowlock.console import Features
from rowlock.console.overview import Board
from rowlock.console.pages import open_console
from rowlock.console.sampling import Sampler
from rowlock.consumers import Consumers
from rowlock.delivery.dead_letters import REPLAY_ALL, DeadLetters, replay_turn
from rowlock.engine.jobs import Jobs
from rowlock.engine.retention import purge_answers
from rowlock.engine.wakes import Wakes
from rowlock.events import Events
from rowlock.events.stream import STORED
from rowlock.events.transactions import append as append_here
from rowlock.http.keyring import NoKeys
from rowlock.http.service import Context, Parts, Service
from rowlock.invoices import Invoices
from rowlock.orders import CHANNEL, Orders
from rowlock.projects import Projects
from rowlock.refunds import Refunds
from rowlock.service_orders import ServiceOrders
from rowlock.services.parts import deliver, measure_outbox, open_subscriptions
from rowlock.settings.names import DatabaseName, ServiceName
from rowlock.subscriptions import CHANGED
from rowlock.subscriptions.resending import RESEND_ALL, resending
from rowlock.transfers import Transfers


def _build(context: Context) -> Parts:
    main, log = context.database, context.others[DatabaseName.EVENTS]
    settings, batches = context.settings, context.settings.batches
    wakes = Wakes(main, settings.tasks.processor_notify_s)
    log_wakes = Wakes(log, settings.tasks.processor_notify_s)
    stored, changed = log_wakes.on(STORED), log_wakes.on(CHANGED)
    events = Events(log, batches, settings.events, stored)
    sampler = Sampler(settings, context.outbound, context.neighbours)
    features = Features(
        main=main,
        log=log,
        draining=context.draining,
        accounts=Accounts(main, batches),
        catalogue=Catalogue(main, batches),
        consumers=Consumers(log, batches, settings.consumers, events),
        dead_letters=DeadLetters(main, batches),
        events=events,
        invoices=Invoices(main, batches),
        jobs=Jobs(main, batches, {REPLAY_ALL: replay_turn}),
        log_jobs=Jobs(log, batches, {RESEND_ALL: resending(append_here)}),
        neighbours=sampler.asked,
        orders=Orders(main, batches, settings.orders, wakes.on(CHANNEL)),
        outbound=context.outbound,
        projects=Projects(main, batches, settings.projects),
        refunds=Refunds(main, batches),
        service_orders=ServiceOrders(main, batches),
        subscriptions=open_subscriptions(log, settings),
        transfers=Transfers(main, batches),
    )
    features.subscriptions.committed.leads_to(stored)
    features.subscriptions.committed.leads_to(changed)
    features.log_jobs.committed.leads_to(stored)
    features.log_jobs.committed.leads_to(changed)
    board = Board(features, settings, sampler)
    on_main = (
        features.accounts,
        features.catalogue,
        features.dead_letters,
        features.invoices,
        features.jobs,
        features.orders,
        features.projects,
        features.refunds,
        features.service_orders,
        features.transfers,
    )
    return Parts(
        features=(
            *on_main,
            events,
            features.consumers,
            features.subscriptions,
            features.log_jobs,
        ),
        routes=(),
        tasks=(
            *deliver(context, wakes, on_main),
            purge_answers(main, settings),
            events.stream.task,
            features.jobs.task("jobs"),
            features.log_jobs.task("log_jobs"),
            log_wakes.task._replace(name="log_wakes"),
            *board.tasks,
        ),
        keyring=NoKeys(),
        backlog=measure_outbox,
        site=open_console(features, settings, board),
    )


CONSOLE = Service(
    name=ServiceName.CONSOLE,
    database=DatabaseName.MAIN,
    also=(DatabaseName.EVENTS,),
    build=_build,
    port=lambda settings: settings.addresses.console_port,
    public_url=lambda settings: settings.addresses.public_console_url,
    token=lambda settings: settings.addresses.console_token,
    body_bytes=lambda settings: settings.http.body_bytes,
    bodies_bytes=lambda settings: settings.http.bodies_bytes,
    client_rate=lambda settings: settings.http.client_rate,
    examples=("/readyz",),
    for_pages=False,  # of other origins
)
