"""Uses the clients that openapi-python-client has made, against running services.

Its arguments are a URL and a token for each of commerce, projects and events.
"""

import sys

import commerce
import events
import projects
from commerce.api.accounts import accounts_create_user
from commerce.api.benefits import benefits_place_order
from commerce.api.invoices import invoices_create_invoice, invoices_pay_invoice
from commerce.api.orders import orders_create_order, orders_list_orders
from commerce.models import (
    BenefitOrder,
    BenefitOrderBody,
    BenefitsError,
    Error,
    Invoice,
    InvoiceBody,
    InvoiceStatus,
    ItemBody,
    Metadata,
    Order,
    OrderBody,
    Person,
    UserBody,
)
from events.api.events import events_get_event, events_list_events, events_store_event
from events.models import Error as EventsError
from events.models import Event, EventBody, Payload
from projects.api.projects import (
    projects_get_project,
    projects_list_deployments,
    projects_start_deployment,
)
from projects.models import Deployment, DeploymentBody
from projects.models import Error as ProjectsError

FAR = 2**62  # an id that nothing has


def use_commerce(url: str, token: str) -> None:
    client = commerce.AuthenticatedClient(
        base_url=url, token=token, raise_on_unexpected_status=True
    )
    user = accounts_create_user.sync(
        client=client, body=UserBody(username="clara", opening_balance=100_000)
    )
    assert isinstance(user, Person)
    body = OrderBody(
        items=[ItemBody(product_id=1, quantity=2)],
        user_id=user.user_id,
        reference="clara-1",
        metadata=Metadata.from_dict({"project": "17"}),
    )
    order = orders_create_order.sync(client=client, body=body, idempotency_key="clara-1")
    assert isinstance(order, Order)
    assert isinstance(order.metadata, Metadata)
    assert order.metadata["project"] == "17"
    listed = orders_list_orders.sync(client=client, user_id=user.user_id)
    assert isinstance(listed, list)
    assert [one.id for one in listed] == [order.id]
    refused = orders_create_order.sync_detailed(client=client, body=body)
    assert refused.status_code == 409
    assert isinstance(refused.parsed, Error)
    assert refused.parsed.error == "reference_taken"
    assert refused.parsed.details["reference"] == "clara-1"
    invoice = invoices_create_invoice.sync(
        client=client, body=InvoiceBody(user_id=user.user_id, amount=500, label="Work")
    )
    assert isinstance(invoice, Invoice)
    paid = invoices_pay_invoice.sync(invoice.id, client=client)
    assert isinstance(paid, Invoice)
    assert paid.status == InvoiceStatus.PAID
    unknown = benefits_place_order.sync(
        client=client,
        body=BenefitOrderBody(order=BenefitOrder(items=["nothing"], user_id="clara")),
    )
    assert isinstance(unknown, BenefitsError)
    assert unknown.error == "products_not_found"


def use_projects(url: str, token: str) -> None:
    client = projects.AuthenticatedClient(
        base_url=url, token=token, raise_on_unexpected_status=True
    )
    started = projects_start_deployment.sync(1, client=client, body=DeploymentBody(branch="main"))
    assert isinstance(started, Deployment)
    assert started.branch == "main"
    deployments = projects_list_deployments.sync(client=client)
    assert isinstance(deployments, list)
    assert started.id in {one.id for one in deployments}
    unknown = projects_get_project.sync(FAR, client=client)
    assert isinstance(unknown, ProjectsError)
    assert unknown.error == "project_not_found"


def use_events(url: str, token: str) -> None:
    client = events.AuthenticatedClient(base_url=url, token=token, raise_on_unexpected_status=True)
    payload = Payload.from_dict({"count": 1})
    body = EventBody(name="client.generated", subject="client:python", payload=payload)
    stored = events_store_event.sync(client=client, body=body)
    assert isinstance(stored, Event)
    listed = events_list_events.sync(client=client, subject="client:python")
    assert isinstance(listed, list)
    assert [(one.id, one.payload["count"]) for one in listed] == [(stored.id, 1)]
    unknown = events_get_event.sync(FAR, client=client)
    assert isinstance(unknown, EventsError)
    assert unknown.error == "event_not_found"


if __name__ == "__main__":
    use_commerce(*sys.argv[1:3])
    use_projects(*sys.argv[3:5])
    use_events(*sys.argv[5:7])
    print("used")
