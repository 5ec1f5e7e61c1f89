"""What proves an API key: a secret, of which only the hash is kept."""

import hashlib
import secrets

PREFIX = "rk_"
RANDOM_BYTES = 32


def new_secret() -> str:
    """Return a random secret: 256 bits."""
    return PREFIX + secrets.token_hex(RANDOM_BYTES)


def hash_of(secret: str) -> bytes:
    """Return what is kept of a secret: as it is random, its SHA-256 needs no salt."""
    return hashlib.sha256(secret.encode()).digest()
