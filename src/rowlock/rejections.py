"""What the rules reject, of all features.

A command that is rejected *returns* a `Rejection`, a value like any other outcome. A read whose row
does not exist raises it. As in `errors`, a class's docstring is its default message, and its name
in snake case its code.
"""

from typing import ClassVar, Self

from rowlock.errors import RowlockError


class Rejection(RowlockError):
    """The request is against the rules."""


class Missing(Rejection):
    """What the request names does not exist."""

    noun: ClassVar[str]
    key: ClassVar[str]  # of the details, for the id that was given

    @classmethod
    def of(cls, given: int | str) -> Self:
        """Return the error for the unknown id `given`."""
        return cls(f"There is no {cls.noun} {given}.", **{cls.key: given})


class IdempotencyKeyReused(Rejection):
    """The idempotency key was used for another request: use a new one."""


class ReferenceTaken(Rejection):
    """Another document of this kind has this reference."""

    example: ClassVar = {"reference": "2026-0042"}


class UserNotFound(Missing):
    """There is no such user."""

    noun, key = "user", "user_id"
    example: ClassVar = {"user_id": 1}


class UsernameTaken(Rejection):
    """Another user has this username, perhaps in another spelling."""


class EmailTaken(Rejection):
    """Another user has this address, perhaps in another spelling."""


class UserAnonymised(Rejection):
    """The user has been anonymised, and is not named again."""

    example: ClassVar = {"user_id": 1}


class BalanceLimitExceeded(Rejection):
    """The balance would exceed what an account can hold."""

    example: ClassVar = {"balance": 2**53 - 1, "amount": 11_350}


class ProductsNotFound(Rejection):
    """Some of the products do not exist."""

    example: ClassVar = {"products": [7]}


class ProductNotFound(Missing):
    """There is no such product."""

    noun, key = "product", "product_id"
    example: ClassVar = {"product_id": 7}


class SlugTaken(Rejection):
    """Another product has this slug."""

    example: ClassVar = {"slug": "netflix"}


class ProductsAlreadyPurchased(Rejection):
    """Some of the products have been purchased already."""


class PriceChanged(Rejection):
    """It does not cost what the buyer was shown."""

    example: ClassVar = {"amount": 85_99}


class InsufficientBalance(Rejection):
    """The balance does not cover the amount."""

    example: ClassVar = {"balance": 424_01, "amount": 490_00}


class UnknownUser(Missing):
    """The user that the order names does not exist."""

    noun, key = "user", "user_id"
    example: ClassVar = {"user_id": 1}


class OrderTotalTooLarge(Rejection):
    """The total of the order is over the limit."""

    example: ClassVar = {"limit": 2**53 - 1}


class OrderNotFound(Missing):
    """There is no such order."""

    noun, key = "order", "order_id"
    example: ClassVar = {"order_id": 1}


class OrderNotPending(Rejection):
    """The order has been settled or cancelled."""

    example: ClassVar = {"order_id": 1, "status": "approved"}


class OrderNotRefundable(Rejection):
    """The order has nothing to refund, or not in part."""

    example: ClassVar = {"order_id": 1, "status": "pending"}


class RefundExceedsOrder(Rejection):
    """The refund is over what is left of the order."""

    example: ClassVar = {"order_id": 1, "amount": 600, "left": 500}


class RefundNotFound(Missing):
    """There is no such refund of this order."""

    noun, key = "refund", "refund_id"
    example: ClassVar = {"refund_id": 1}


class KeyNotFound(Missing):
    """There is no such API key."""

    noun, key = "API key", "name"
    example: ClassVar = {"name": "partner"}


class KeyNameTaken(Rejection):
    """There is an API key of this name already."""

    example: ClassVar = {"name": "partner"}


class KeyExpired(Rejection):
    """The API key has expired: create another one."""

    example: ClassVar = {"name": "partner"}


class TooManySecrets(Rejection):
    """The API key has as many valid secrets as it may: wait until one ends, or end all others."""

    example: ClassVar = {"name": "partner", "limit": 10}


class EventNotFound(Missing):
    """There is no such event."""

    noun, key = "event", "id"
    example: ClassVar = {"id": 12}


class PositionUnknown(Rejection):
    """The log has no such position: what followed last_valid_id was lost. Go on after that."""

    example: ClassVar = {"last_valid_id": 100, "first_id_after": 1000101}


class ConsumerNotFound(Missing):
    """There is no such consumer."""

    noun, key = "consumer", "name"
    example: ClassVar = {"name": "warehouse"}


class TooManyConsumers(Rejection):
    """There are as many consumers as there may be: delete one."""

    example: ClassVar = {"limit": 1000}


class EventNotStored(Rejection):
    """The log has no event of this id yet: acknowledge the id of one that was read."""

    example: ClassVar = {"id": 13, "last_id": 12}


class EventTypeNotFound(Missing):
    """There is no such event type, or not in this version."""

    noun, key = "event type", "name"
    example: ClassVar = {"name": "invoice.unpaid"}


class EventIdConflict(Rejection):
    """This event_id belongs to an event with other content."""

    example: ClassVar = {"event_id": "6f1c2a34-5b0e-4c8e-9a53-2d9f0e6b7c18"}


class EpochOutdated(Rejection):
    """The sender has been replaced: a later leader of this source has sent events."""

    example: ClassVar = {"epoch": 7, "latest_epoch": 8}


class LogMoved(Rejection):
    """The log, or its mark for this source, is not the one that the sender knows."""

    example: ClassVar = {"log": "2c7d3f5e-8a41-4b0e-9d1c-6e2f7a9b0c34", "mark": "7412/98"}


class InvoiceNotFound(Missing):
    """There is no such invoice."""

    noun, key = "invoice", "invoice_id"
    example: ClassVar = {"invoice_id": 1}


class InvoiceAlreadyPaid(Rejection):
    """The invoice has been paid already."""

    example: ClassVar = {"invoice_id": 1}


class InvoiceNotPending(Rejection):
    """The invoice is not pending."""

    example: ClassVar = {"invoice_id": 1, "status": "void"}


class InvoiceNotPaid(Rejection):
    """The invoice is not paid."""

    example: ClassVar = {"invoice_id": 1, "status": "pending"}


class TransferNotFound(Missing):
    """There is no such transfer."""

    noun, key = "transfer", "transfer_id"
    example: ClassVar = {"transfer_id": 1}


class ServiceOrderNotFound(Missing):
    """There is no such service order."""

    noun, key = "service order", "service_order_id"
    example: ClassVar = {"service_order_id": "223"}

    @classmethod
    def of(cls, given: int | str) -> Self:
        """Return the error for the unknown id `given`, as a text: clients see it so."""
        return super().of(str(given))


class ServiceOrderChanged(Rejection):
    """The service order has changed since (If-Match or If-None-Match failed)."""

    example: ClassVar = {"service_order_id": "223", "version": 7}


class IdTaken(Rejection):
    """Another service order has, or had, this id."""

    example: ClassVar = {"service_order_id": "223"}


class ServicesNotFound(Rejection):
    """Some of the services do not exist."""

    example: ClassVar = {"services": ["456"]}


class ServiceNotFound(Missing):
    """There is no such service."""

    noun, key = "service", "service_id"
    example: ClassVar = {"service_id": 456}


class TooCloseToExistingOrder(Rejection):
    """Another order is less than three hours away."""

    example: ClassVar = {
        "order": {"id": "226", "datetime": "2026-11-21T10:30:00.000Z"},
        "free_before": "2026-11-21T07:30:00.000Z",
        "free_after": "2026-11-21T13:30:00.000Z",
    }


class ProjectNotFound(Missing):
    """There is no such project."""

    noun, key = "project", "project_id"
    example: ClassVar = {"project_id": 1}


class DeploymentNotFound(Missing):
    """There is no such deployment."""

    noun, key = "deployment", "deployment_id"
    example: ClassVar = {"deployment_id": 6}


class DeploymentNotOngoing(Rejection):
    """The deployment has ended."""

    example: ClassVar = {"deployment_id": 6, "status": "done"}


class WebhookIdConflict(Rejection):
    """A webhook with this id has reported another status; give each message an id of its own."""

    example: ClassVar = {"webhook_id": "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", "reported": "failed"}


class DeploymentMoveRefused(Rejection):
    """A deployment moves only forward, and not at all once it has ended."""

    example: ClassVar = {"deployment_id": 6, "status": "done", "reported": "building"}


class SubscriptionNotFound(Missing):
    """There is no such subscription."""

    noun, key = "subscription", "subscription_id"
    example: ClassVar = {"subscription_id": 1}


class DeliveryNotFound(Missing):
    """There is no such delivery."""

    noun, key = "delivery", "delivery_id"
    example: ClassVar = {"delivery_id": 7}


class TooManySubscriptions(Rejection):
    """There are as many subscriptions as there may be: delete one first."""

    example: ClassVar = {"limit": 1000}


class SubscriptionNotActive(Rejection):
    """The subscription is not active: enable it first."""

    example: ClassVar = {"subscription_id": 1, "status": "disabled"}


class SubscriptionEnded(Rejection):
    """The receiver has ended the subscription with a 410: make another one."""

    example: ClassVar = {"subscription_id": 1}


class DeadLettersGone(Rejection):
    """None of these events is a dead letter any more: another operator has sent them again."""


class NothingParked(Rejection):
    """No event with this id waits: it is delivered, or was never in the outbox."""


class JobUnderWay(Rejection):
    """Another job of this kind is under way: wait until it is done, or stop it."""


class NoJobUnderWay(Rejection):
    """No such job is under way any more."""
