"""The events of the catalogue: what each one says."""

from typing import Annotated, Any, Literal, NotRequired, TypeAlias, TypedDict

from rowlock.engine.event_types import EventType, an_id, fact, money

Name = Annotated[str, fact("What it is called.")]
Price = Annotated[int, money("What it costs.")]


class OfProduct(TypedDict):
    """What each event says of its product."""

    product_id: Annotated[int, an_id("The product's id.")]
    slug: Annotated[str, fact("What the benefits API calls it. It never changes.")]
    name: Name
    price: Price


class ProductBefore(TypedDict):
    """What has changed of a product, as it was before."""

    name: NotRequired[Name]
    price: NotRequired[Price]


class ProductChanged(OfProduct):
    """What `product.changed` says."""

    before: Annotated[ProductBefore, fact("What has changed, as it was before.", minProperties=1)]


class OfService(TypedDict):
    """What each event says of its service."""

    service_id: Annotated[int, an_id("The service's id.")]
    name: Name


class ServiceBefore(TypedDict):
    """What has changed of a service, as it was before."""

    name: NotRequired[Name]


class ServiceChanged(OfService):
    """What `service.changed` says."""

    before: Annotated[ServiceBefore, fact("What has changed, as it was before.", minProperties=1)]


What: TypeAlias = Literal["created", "retired", "restored"]
OF_PRODUCT = "product:{product_id}"
OF_SERVICE = "service:{service_id}"
PRODUCT: OfProduct = {"product_id": 1, "slug": "netflix", "name": "Netflix", "price": 7599}
SERVICE: OfService = {"service_id": 1, "name": "Moving in"}

PRODUCT_EVENTS: dict[What, EventType[OfProduct]] = {
    "created": EventType(
        "product.created",
        OfProduct,
        "A product was added to the catalogue.",
        subject=OF_PRODUCT,
        example=PRODUCT,
    ),
    "retired": EventType(
        "product.retired",
        OfProduct,
        "A product was retired: it can't be ordered any more.",
        subject=OF_PRODUCT,
        example=PRODUCT,
    ),
    "restored": EventType(
        "product.restored",
        OfProduct,
        "A retired product was restored: it can be ordered again.",
        subject=OF_PRODUCT,
        example=PRODUCT,
    ),
}
PRODUCT_CHANGED = EventType(
    "product.changed",
    ProductChanged,
    "A product has got another name or price.",
    subject=OF_PRODUCT,
    example={
        "product_id": 1,
        "slug": "netflix",
        "name": "Netflix",
        "price": 8999,
        "before": {"price": 7599},
    },
)
SERVICE_EVENTS: dict[What, EventType[OfService]] = {
    "created": EventType(
        "service.created",
        OfService,
        "A service was added to the catalogue.",
        subject=OF_SERVICE,
        example=SERVICE,
    ),
    "retired": EventType(
        "service.retired",
        OfService,
        "A service was retired: it can't be booked any more.",
        subject=OF_SERVICE,
        example=SERVICE,
    ),
    "restored": EventType(
        "service.restored",
        OfService,
        "A retired service was restored: it can be booked again.",
        subject=OF_SERVICE,
        example=SERVICE,
    ),
}
SERVICE_CHANGED = EventType(
    "service.changed",
    ServiceChanged,
    "A service has got another name.",
    subject=OF_SERVICE,
    example={"service_id": 1, "name": "Moving out", "before": {"name": "Moving in"}},
)
EVENTS: tuple[EventType[Any], ...] = (
    *PRODUCT_EVENTS.values(),
    PRODUCT_CHANGED,
    *SERVICE_EVENTS.values(),
    SERVICE_CHANGED,
)
