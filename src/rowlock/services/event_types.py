"""The types of all events that Rowlock sends."""

from rowlock.accounts import events as account_events
from rowlock.benefits import events as benefit_events
from rowlock.catalogue import events as catalogue_events
from rowlock.consumers import events as consumer_events
from rowlock.delivery import events as delivery_events
from rowlock.engine import epoch_events
from rowlock.engine.event_types import EventTypes
from rowlock.invoices import events as invoice_events
from rowlock.keys import events as key_events
from rowlock.orders import events as order_events
from rowlock.projects import events as project_events
from rowlock.refunds import events as refund_events
from rowlock.service_orders import events as service_order_events
from rowlock.subscriptions import events as subscription_events
from rowlock.transfers import events as transfer_events

# What happens in the features of all services; the log may have events of other senders, too.
EVENT_TYPES = EventTypes(
    [
        *account_events.EVENTS,
        *benefit_events.EVENTS,
        *catalogue_events.EVENTS,
        *consumer_events.EVENTS,
        *delivery_events.EVENTS,
        *epoch_events.EVENTS,
        *invoice_events.EVENTS,
        *key_events.EVENTS,
        *order_events.EVENTS,
        *project_events.EVENTS,
        *refund_events.EVENTS,
        *service_order_events.EVENTS,
        *subscription_events.EVENTS,
        *transfer_events.EVENTS,
    ]
)
