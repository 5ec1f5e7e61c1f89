"""API keys: callers with a name, scopes, a rate and an end, besides the holders of the token.

Each service has its own keys, in its database. A key outlasts the secrets that prove it: rotation
replaces a secret, and leaves the old one valid for a while. Of a secret only the SHA-256 is kept.
What happens to a key is an event: of the main database by the outbox, and in the events service in
the log itself.
"""

from collections.abc import Sequence
from functools import partial

from rowlock.engine.database import Database
from rowlock.engine.lanes import Feature, Lane, WriteLane
from rowlock.engine.statements import queries
from rowlock.keys.keyring import Keyring
from rowlock.keys.reads import find_holders, find_keys, read_key
from rowlock.keys.rules import CreateKey, Holder, Key, RevokeKey, RotateKey
from rowlock.keys.transactions import Append, Realm, create_keys, revoke_keys, rotate_keys
from rowlock.rejections import Rejection
from rowlock.settings.groups import BatchSettings


class Keys(Feature):
    """The keys of one service."""

    def __init__(
        self, database: Database, batches: BatchSettings, service: str, append: Append
    ) -> None:
        super().__init__(database, batches)
        self._service = service
        realm = Realm(service, append)
        self.find: Lane[str, Key | None] = self._reads("find_key", partial(find_keys, service))
        self.create: WriteLane[CreateKey, Key | Rejection] = self._commits(
            "create_key", partial(create_keys, realm)
        )
        self.rotate: WriteLane[RotateKey, int | Rejection] = self._commits(
            "rotate_key", partial(rotate_keys, realm)
        )
        self.revoke: WriteLane[RevokeKey, int | Rejection] = self._commits(
            "revoke_key", partial(revoke_keys, realm)
        )
        holders: Lane[bytes, Holder | None] = self._reads(
            "check_key", partial(find_holders, service)
        )
        self.ring = Keyring(holders)

    async def list_page(self, *, before: int, page_size: int) -> Sequence[Key]:
        """Return a page of keys, newest first: those with ids below `before`."""
        rows = await self.database.read(
            partial(
                queries.keys.list_keys, service=self._service, before=before, page_size=page_size
            )
        )
        return [read_key(row) for row in rows]
