"""What is sold and booked, and the bookings."""

# The bodies are what @call and @pages make of the signatures.
# mypy: disable-error-code="empty-body"

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Unpack

from rowlock.client.calls import Options
from rowlock.client.declared import Group, Pages, call, pages
from rowlock.client.records import Booking, CatalogueProduct, CatalogueService, Service
from rowlock.client.shapes import Header, Named

At = Annotated[datetime, Named("datetime")]
IfMatch = Annotated[str | None, Header("If-Match")]


class Bookings(Group):
    """Service orders, at least three hours apart.

    A change with the `etag` of the booking as `if_match` is refused if it has changed since.
    """

    @call("GET /services")
    async def services(self, **options: Unpack[Options]) -> tuple[Service, ...]:
        """List what can be booked."""

    @call("POST /service-orders")
    async def book(
        self,
        *,
        at: At,
        totalfee: int,
        services: Sequence[str],
        id: str | None = None,  # noqa: A002  # as the contract calls it
        **options: Unpack[Options],
    ) -> Booking:
        """Book services."""

    @call("GET /service-orders/{booking_id}")
    async def get(self, booking_id: str, **options: Unpack[Options]) -> Booking:
        """Get a booking."""

    @pages("GET /service-orders")
    def list(
        self,
        *,
        since: Annotated[datetime | None, Named("from")] = None,
        until: Annotated[datetime | None, Named("to")] = None,
        service: str | None = None,
        limit: int | None = None,
        **options: Unpack[Options],
    ) -> Pages[Booking]:
        """List bookings by time: at once, or in pages of `limit`."""

    @call("PUT /service-orders/{booking_id}")
    async def replace(
        self,
        booking_id: str,
        *,
        at: At,
        totalfee: int,
        services: Sequence[str],
        if_match: IfMatch = None,
        **options: Unpack[Options],
    ) -> Booking:
        """Replace a booking."""

    @call("DELETE /service-orders/{booking_id}")
    async def delete(
        self, booking_id: str, *, if_match: IfMatch = None, **options: Unpack[Options]
    ) -> None:
        """Delete a booking."""


class Products(Group):
    """Products of both shops."""

    @call("POST /catalogue/products")
    async def create(
        self, *, slug: str, name: str, price: int, **options: Unpack[Options]
    ) -> CatalogueProduct:
        """Add a product to both shops."""

    @call("GET /catalogue/products/{product_id}")
    async def get(self, product_id: int, **options: Unpack[Options]) -> CatalogueProduct:
        """Get a product, retired or not."""

    @pages("GET /catalogue/products")
    def list(
        self,
        *,
        retired: bool | None = None,
        limit: int | None = None,
        **options: Unpack[Options],
    ) -> Pages[CatalogueProduct]:
        """List products, newest first, retired ones included unless said otherwise."""

    @call("PATCH /catalogue/products/{product_id}")
    async def change(
        self,
        product_id: int,
        *,
        name: str | None = None,
        price: int | None = None,
        **options: Unpack[Options],
    ) -> CatalogueProduct:
        """Change a product's name or price."""

    @call("POST /catalogue/products/{product_id}/retire")
    async def retire(self, product_id: int, **options: Unpack[Options]) -> CatalogueProduct:
        """Take a product out of both shops."""

    @call("POST /catalogue/products/{product_id}/restore")
    async def restore(self, product_id: int, **options: Unpack[Options]) -> CatalogueProduct:
        """Put a retired product back into both shops."""


class Services(Group):
    """Services that can be booked."""

    @call("POST /catalogue/services")
    async def create(self, *, name: str, **options: Unpack[Options]) -> CatalogueService:
        """Add a service that can be booked."""

    @call("GET /catalogue/services/{service_id}")
    async def get(self, service_id: int, **options: Unpack[Options]) -> CatalogueService:
        """Get a service, retired or not."""

    @pages("GET /catalogue/services")
    def list(
        self,
        *,
        retired: bool | None = None,
        limit: int | None = None,
        **options: Unpack[Options],
    ) -> Pages[CatalogueService]:
        """List services, newest first, retired ones included unless said otherwise."""

    @call("PATCH /catalogue/services/{service_id}")
    async def change(
        self, service_id: int, *, name: str | None = None, **options: Unpack[Options]
    ) -> CatalogueService:
        """Change a service's name."""

    @call("POST /catalogue/services/{service_id}/retire")
    async def retire(self, service_id: int, **options: Unpack[Options]) -> CatalogueService:
        """Retire a service, so that it can't be booked."""

    @call("POST /catalogue/services/{service_id}/restore")
    async def restore(self, service_id: int, **options: Unpack[Options]) -> CatalogueService:
        """Restore a retired service, so that it can be booked."""
