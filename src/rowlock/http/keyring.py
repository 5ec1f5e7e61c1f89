"""What access control asks of API keys. The feature that has them is above this layer."""

from typing import Protocol


class ApiKey(Protocol):
    """A valid API key, as a caller has proved to hold it."""

    @property
    def id(self) -> int:
        """Its number, which no other key of the service ever has."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def scopes(self) -> frozenset[str]:
        """What it may do."""

    @property
    def rate(self) -> int | None:
        """Requests a second that it may send to this process; None: as any client."""

    @property
    def hash(self) -> bytes:
        """The SHA-256 of the secret that was sent."""


class NoKeys:
    """The keyring of a service that takes no API keys."""

    def known(self, _: bytes) -> None:
        """Return None: there is no such key."""

    def remembers(self, _: bytes) -> bool:
        """Tell that no key ever was valid."""
        return False

    async def find(self, _: bytes) -> None:
        """Return None: there is no such key."""


class Keyring(Protocol):
    """The API keys of a service, by the SHA-256 of their secrets."""

    def known(self, digest: bytes) -> ApiKey | None:
        """Return the key if it was looked up just now; None: it must be looked up."""

    def remembers(self, digest: bytes) -> bool:
        """Tell whether the key was valid when it was last looked up, however long ago that is."""

    async def find(self, digest: bytes) -> ApiKey | None:
        """Look the key up; None: there is no such valid key."""
