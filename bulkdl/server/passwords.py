"""Passwords of a users file: plain text, or an scrypt hash such as `scrypt$16384$8$1$SALT$DIGEST` (both in hex)."""

import hashlib
import hmac
import secrets
from typing import Final

_SCHEME: Final = "scrypt"
_COST: Final = (1 << 14, 8, 1)  # N, r and p of RFC 7914
_MAX_MEMORY_BYTES: Final = 1 << 28
_SALT_BYTES: Final = 16
_INVALID: Final = "the password begins with scrypt$ but is not a valid hash"


def hash_password(password: str) -> str:
    """Hash a password for a users file, with a random salt."""
    salt = secrets.token_bytes(_SALT_BYTES)
    costs = "$".join(map(str, _COST))
    return f"{_SCHEME}${costs}${salt.hex()}${_scrypt(password, salt, _COST).hex()}"


def check_stored(stored: str) -> None:
    """Check that a stored password is plain text or a valid hash.

    Raises:
        ValueError: it begins with `scrypt$` but is not a valid hash.
    """
    if stored.startswith(f"{_SCHEME}$"):
        cost, salt, _ = _parse(stored)
        try:
            _scrypt("", salt, cost)
        except ValueError:  # of costs that scrypt does not allow
            raise ValueError(_INVALID) from None


def is_password(password: str, stored: str) -> bool:
    """Whether `password` is the stored one. Blocks for as long as the hash takes."""
    if stored.startswith(f"{_SCHEME}$"):
        cost, salt, digest = _parse(stored)
        return hmac.compare_digest(_scrypt(password, salt, cost), digest)
    return hmac.compare_digest(digest_of(password), digest_of(stored))


def _parse(stored: str) -> tuple[tuple[int, int, int], bytes, bytes]:
    try:
        _, n, r, p, salt, digest = stored.split("$")
        cost = int(n), int(r), int(p)
        return cost, bytes.fromhex(salt), bytes.fromhex(digest)
    except ValueError:
        raise ValueError(_INVALID) from None


def _scrypt(password: str, salt: bytes, cost: tuple[int, int, int]) -> bytes:
    n, r, p = cost
    return hashlib.scrypt(password.encode(errors="replace"), salt=salt, n=n, r=r, p=p, maxmem=_MAX_MEMORY_BYTES)


def digest_of(secret: str) -> bytes:
    """A digest to keep or to compare instead of a secret, whose length it does not reveal."""
    return hashlib.sha256(secret.encode(errors="replace")).digest()
