"""HTTP ↔ command: the catalogue, retired products and services included. Minor units."""

from typing import Any

from aiohttp import web
from marshmallow import ValidationError

from rowlock.catalogue import Catalogue
from rowlock.catalogue.rules import (
    NAME_LENGTH,
    PRICE_LIMIT,
    SLUG_LENGTH,
    SLUG_PATTERN,
    ChangeProduct,
    ChangeService,
    CreateProduct,
    CreateService,
    Product,
    Restore,
    Retire,
    Service,
    slug_problem,
)
from rowlock.http.access import origin_of
from rowlock.http.answers import reply
from rowlock.http.bodies import Body, ChangeBody
from rowlock.http.fields import Cents, QueryFlag, Text
from rowlock.http.openapi.shapes import array, created, instant, integer, nullable, record, text
from rowlock.http.paging import PageQuery, paginate
from rowlock.http.request import EMPTY_BODY, path_id, read_body, read_empty_body, read_query
from rowlock.http.routes import Routes, route
from rowlock.http.submit import find_by_path, submit
from rowlock.rejections import ProductNotFound, ServiceNotFound, SlugTaken


class Slug(Text):
    """A slug that a new product may have."""

    def __init__(self) -> None:
        super().__init__(longest=SLUG_LENGTH, required=True, metadata={"pattern": SLUG_PATTERN})

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        slug = super()._deserialize(value, attr, data, **kwargs)
        problem = slug_problem(slug)
        if problem is not None:
            raise ValidationError(problem)
        return slug


class ProductBody(Body):
    """`{"slug": "netflix", "name": "Netflix", "price": 7599}`."""

    slug = Slug()
    name = Text(longest=NAME_LENGTH, required=True)
    price = Cents(minimum=0, maximum=PRICE_LIMIT, required=True)


class ProductChangeBody(ChangeBody):
    """`{"name": "Netflix", "price": 7599}`, or one of the two."""

    name = Text(longest=NAME_LENGTH)
    price = Cents(minimum=0, maximum=PRICE_LIMIT)


class ServiceBody(Body):
    """`{"name": "Inspection"}`."""

    name = Text(longest=NAME_LENGTH, required=True)


class ServiceChangeBody(ChangeBody):
    """`{"name": "Inspection"}`."""

    name = Text(longest=NAME_LENGTH)


class CatalogueQuery(PageQuery):
    """The filter of the lists."""

    retired = QueryFlag(load_default=None)


PRODUCT_BODY = ProductBody()
PRODUCT_CHANGE_BODY = ProductChangeBody()
SERVICE_BODY = ServiceBody()
SERVICE_CHANGE_BODY = ServiceChangeBody()
CATALOGUE_QUERY = CatalogueQuery()

PRODUCT = record(
    "CatalogueProduct",
    id=integer(1),
    slug=text("netflix"),
    name=text("Netflix"),
    price=integer(7599, minimum=0, maximum=PRICE_LIMIT),
    created_at=nullable(instant()),
    retired_at=nullable(instant()),
)
SERVICE = record(
    "CatalogueService",
    id=integer(123),
    name=text("Inspection"),
    created_at=nullable(instant()),
    retired_at=nullable(instant()),
)


class CatalogueRoutes(Routes):
    """The catalogue."""

    tag = "catalogue"

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    @route("GET", "/catalogue/products", {200: array(PRODUCT)}, query=CATALOGUE_QUERY)
    async def list_products(self, request: web.Request) -> web.Response:
        """List products, newest first, retired ones included."""
        query = read_query(request, CATALOGUE_QUERY)
        limit = query["limit"]
        products = await self._catalogue.list_products(
            is_retired=query["retired"], before=query["before"], page_size=limit + 1
        )
        page, headers = paginate(request, products, limit, _position)
        return reply(page, headers=headers)

    @route("GET", "/catalogue/products/{id}", {200: PRODUCT}, ProductNotFound)
    async def get_product(self, request: web.Request) -> web.Response:
        """Get a product, retired or not."""
        return reply(await find_by_path(request, self._catalogue.find_product, ProductNotFound))

    @route(
        "POST",
        "/catalogue/products",
        {201: created(PRODUCT, at="/catalogue/products/1")},
        SlugTaken,
        body=PRODUCT_BODY,
        example={"slug": "netflix", "name": "Netflix", "price": 7599},
    )
    async def create_product(self, request: web.Request) -> web.Response:
        """Add a product to both shops."""
        body = await read_body(request, PRODUCT_BODY)
        command = CreateProduct(**body, origin=origin_of(request))
        return await submit(request, self._catalogue.create_product, command, _product_created)

    @route(
        "PATCH",
        "/catalogue/products/{id}",
        {200: PRODUCT},
        ProductNotFound,
        body=PRODUCT_CHANGE_BODY,
        example={"price": 7999},
    )
    async def change_product(self, request: web.Request) -> web.Response:
        """Change a product's name or price.

        The price is that of orders placed from then on. A slug never changes.
        """
        product_id = path_id(request, ProductNotFound)
        body = await read_body(request, PRODUCT_CHANGE_BODY)
        command = ChangeProduct(product_id, **body, origin=origin_of(request))
        return await submit(request, self._catalogue.change_product, command, reply)

    @route(
        "POST",
        "/catalogue/products/{id}/retire",
        {200: PRODUCT},
        ProductNotFound,
        body=EMPTY_BODY,
        example={},
    )
    async def retire_product(self, request: web.Request) -> web.Response:
        """Take a product out of both shops.

        It can't be ordered any more. Orders and owners that have it keep it.
        """
        command = Retire(path_id(request, ProductNotFound), origin_of(request))
        await read_empty_body(request)
        return await submit(request, self._catalogue.change_product, command, reply)

    @route(
        "POST",
        "/catalogue/products/{id}/restore",
        {200: PRODUCT},
        ProductNotFound,
        body=EMPTY_BODY,
        example={},
    )
    async def restore_product(self, request: web.Request) -> web.Response:
        """Put a retired product back into both shops."""
        command = Restore(path_id(request, ProductNotFound), origin_of(request))
        await read_empty_body(request)
        return await submit(request, self._catalogue.change_product, command, reply)

    @route("GET", "/catalogue/services", {200: array(SERVICE)}, query=CATALOGUE_QUERY)
    async def list_services(self, request: web.Request) -> web.Response:
        """List services, newest first, retired ones included."""
        query = read_query(request, CATALOGUE_QUERY)
        limit = query["limit"]
        services = await self._catalogue.list_services(
            is_retired=query["retired"], before=query["before"], page_size=limit + 1
        )
        page, headers = paginate(request, services, limit, _position)
        return reply(page, headers=headers)

    @route("GET", "/catalogue/services/{id}", {200: SERVICE}, ServiceNotFound)
    async def get_service(self, request: web.Request) -> web.Response:
        """Get a service, retired or not."""
        return reply(await find_by_path(request, self._catalogue.find_service, ServiceNotFound))

    @route(
        "POST",
        "/catalogue/services",
        {201: created(SERVICE, at="/catalogue/services/123")},
        body=SERVICE_BODY,
        example={"name": "Inspection"},
    )
    async def create_service(self, request: web.Request) -> web.Response:
        """Add a service that can be booked."""
        body = await read_body(request, SERVICE_BODY)
        command = CreateService(**body, origin=origin_of(request))
        return await submit(request, self._catalogue.create_service, command, _service_created)

    @route(
        "PATCH",
        "/catalogue/services/{id}",
        {200: SERVICE},
        ServiceNotFound,
        body=SERVICE_CHANGE_BODY,
        example={"name": "Inspection"},
    )
    async def change_service(self, request: web.Request) -> web.Response:
        """Change a service's name.

        The service orders that include it show the new name, and have another ETag.
        """
        service_id = path_id(request, ServiceNotFound)
        body = await read_body(request, SERVICE_CHANGE_BODY)
        command = ChangeService(service_id, **body, origin=origin_of(request))
        return await submit(request, self._catalogue.change_service, command, reply)

    @route(
        "POST",
        "/catalogue/services/{id}/retire",
        {200: SERVICE},
        ServiceNotFound,
        body=EMPTY_BODY,
        example={},
    )
    async def retire_service(self, request: web.Request) -> web.Response:
        """Retire a service, so that it can't be booked.

        Service orders that include it keep it, and can be moved.
        """
        command = Retire(path_id(request, ServiceNotFound), origin_of(request))
        await read_empty_body(request)
        return await submit(request, self._catalogue.change_service, command, reply)

    @route(
        "POST",
        "/catalogue/services/{id}/restore",
        {200: SERVICE},
        ServiceNotFound,
        body=EMPTY_BODY,
        example={},
    )
    async def restore_service(self, request: web.Request) -> web.Response:
        """Restore a retired service, so that it can be booked."""
        command = Restore(path_id(request, ServiceNotFound), origin_of(request))
        await read_empty_body(request)
        return await submit(request, self._catalogue.change_service, command, reply)


def _position(item: Product | Service) -> str:
    return str(item.id)


def _product_created(product: Product) -> web.Response:
    return reply(product, status=201, headers={"Location": f"/catalogue/products/{product.id}"})


def _service_created(service: Service) -> web.Response:
    return reply(service, status=201, headers={"Location": f"/catalogue/services/{service.id}"})
