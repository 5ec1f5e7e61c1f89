"""The events of users: what each one says."""

from datetime import datetime
from typing import Annotated, NotRequired, TypedDict

from rowlock.engine.event_types import EventType, an_id, fact, money

UserId = Annotated[int, an_id("The user's id.")]


class UserCreated(TypedDict):
    """What `user.created` says."""

    user_id: UserId
    balance: Annotated[int, money("The opening balance.")]
    user_created_at: NotRequired[
        Annotated[datetime, fact("When the user was created, if the user was imported.")]
    ]


class UserChanged(TypedDict):
    """What `user.changed` says. Names and addresses stay out of events."""

    user_id: UserId
    changed: Annotated[
        list[Annotated[str, fact("A field.", enum=["email", "first_name", "last_name"])]],
        fact("Which fields have another value now.", minItems=1, uniqueItems=True),
    ]


class UserAnonymised(TypedDict):
    """What `user.anonymised` says."""

    user_id: UserId


USER_CREATED = EventType(
    "user.created",
    UserCreated,
    "A user was created, with an opening balance.",
    subject="user:{user_id}",
    example={"user_id": 1, "balance": 50000},
)
USER_CHANGED = EventType(
    "user.changed",
    UserChanged,
    "A user's name or address was changed.",
    subject="user:{user_id}",
    example={"user_id": 1, "changed": ["email"]},
)
USER_ANONYMISED = EventType(
    "user.anonymised",
    UserAnonymised,
    "A user's names and address were removed, for good.",
    subject="user:{user_id}",
    example={"user_id": 1},
)
EVENTS = (USER_CREATED, USER_CHANGED, USER_ANONYMISED)
