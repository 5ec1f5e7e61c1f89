"""The events of transfers: what each one says."""

from typing import Annotated, TypedDict

from rowlock.engine.event_types import EventType, an_id, fact, money


class TransferMade(TypedDict):
    """What `transfer.made` says. transfers/make_transfers writes it."""

    transfer_id: Annotated[int, an_id("The transfer's id.")]
    from_user_id: Annotated[int, an_id("The user who was debited.")]
    to_user_id: Annotated[int, an_id("The user who was credited.")]
    amount: Annotated[int, money("What was moved.", minimum=1)]
    label: Annotated[str, fact("What the transfer is for, as the client has put it.")]
    from_balance_after: Annotated[int, money("The balance of the user who was debited.")]
    to_balance_after: Annotated[int, money("The balance of the user who was credited.")]


TRANSFER_MADE = EventType(
    "transfer.made",
    TransferMade,
    "An amount was moved from one user to another.",
    subject="transfer:{transfer_id}",
    example={
        "transfer_id": 5,
        "from_user_id": 1,
        "to_user_id": 2,
        "amount": 2500,
        "label": "Lunch",
        "from_balance_after": 47500,
        "to_balance_after": 52500,
    },
)
EVENTS = (TRANSFER_MADE,)
