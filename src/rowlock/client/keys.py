"""API keys, which every service has of its own."""

# The bodies are what @call and @pages make of the signatures.
# mypy: disable-error-code="empty-body"

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Unpack

from rowlock.client.calls import Options
from rowlock.client.declared import Group, Pages, call, pages
from rowlock.client.shapes import Record


@dataclass(frozen=True, slots=True)
class Key(Record):
    """An API key, without its secret."""

    id: int
    name: str
    scopes: tuple[str, ...]
    rate: int | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    old_secret_until: datetime | None


@dataclass(frozen=True, slots=True)
class NewKey(Key):
    """An API key with its secret, which is shown this once."""

    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewSecret(Record):
    """Another secret of an API key, which is shown this once."""

    name: str
    secret: str = field(repr=False)


class Keys(Group):
    """The API keys of the service.

    Answers with a secret are not kept: these calls are sent once, and may end in OutcomeUnknown.
    """

    @call("POST /keys")
    async def create(
        self,
        *,
        name: str,
        scopes: Sequence[str],
        rate: int | None = None,
        expires_at: datetime | None = None,
        **options: Unpack[Options],
    ) -> NewKey:
        """Create an API key, for as many requests a second as its `rate`."""

    @call("GET /keys/{name}")
    async def get(self, name: str, **options: Unpack[Options]) -> Key:
        """Get an API key, without its secret."""

    @pages("GET /keys")
    def list(self, *, limit: int | None = None, **options: Unpack[Options]) -> Pages[Key]:
        """List API keys, newest first."""

    @call("POST /keys/{name}/rotate")
    async def rotate(
        self, name: str, *, overlap_s: int | None = None, **options: Unpack[Options]
    ) -> NewSecret:
        """Give an API key a new secret. The old one stays valid for `overlap_s`."""

    @call("DELETE /keys/{name}")
    async def revoke(self, name: str, **options: Unpack[Options]) -> None:
        """Revoke an API key."""
