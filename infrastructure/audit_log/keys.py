"""The installation's Ed25519 key: where it comes from, what it signs, and whether a signature holds."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Self
from uuid import uuid4

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from domain.audit import SignedHead, TreeHead

FILE_NAME = "audit.key"
"""Of the key that an installation with its own Postgres makes in its data directory."""


class KeyUnusable(Exception):
    """A key file cannot be used; the sentence says why, and what to do."""


class PublicKey:
    """Tells whether a head was signed by the installation."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        self.id = sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
        self.pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @classmethod
    def of_pem(cls, pem: str) -> Self:
        """A key as it is published. Raises `KeyUnusable`."""
        try:
            key = load_pem_public_key(pem.encode())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeyUnusable("it is no public key in PEM") from error
        if not isinstance(key, Ed25519PublicKey):
            raise KeyUnusable("it is not an Ed25519 key")
        return cls(key)

    def holds(self, signed: SignedHead) -> bool:
        """Whether this key has signed this head."""
        try:
            self._key.verify(signed.signature, signed.head.signed_bytes())
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """Signs heads. Is never shown."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())

    def sign(self, head: TreeHead) -> SignedHead:
        """The head with this key's signature."""
        return SignedHead(head=head, key_id=self.public.id, signature=self._key.sign(head.signed_bytes()))


class KeyRing:
    """The public keys that are believed."""

    def __init__(self, keys: Iterable[PublicKey]) -> None:
        self._keys = {key.id: key for key in keys}

    @property
    def ids(self) -> list[bytes]:
        """What heads call these keys."""
        return list(self._keys)

    def flaw(self, signed: SignedHead) -> str | None:
        """What is wrong with a signature, as the end of a sentence; None: nothing."""
        key = self._keys.get(signed.key_id)
        if key is None:
            return f"is signed by the key {signed.key_id.hex()}, which is none of those to verify with"
        return None if key.holds(signed) else "has a signature that does not hold: it was changed"


def read_signing_key(path: Path) -> SigningKey:
    """The private key in a PEM file. Raises `KeyUnusable`."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise KeyUnusable(
            f"{path} cannot be read ({error.strerror}); `openssl genpkey -algorithm ed25519 -out {path}` "
            "makes a key, which every process that runs a projector on this database needs"
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyUnusable(f"{path} is no private key in PEM without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(f"{path} holds a key of another kind than Ed25519")
    return SigningKey(key)


def read_public_key(path: Path) -> PublicKey:
    """The public key in a PEM file. Raises `KeyUnusable`."""
    try:
        return PublicKey.of_pem(path.read_text(encoding="ascii"))
    except OSError as error:
        raise KeyUnusable(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, KeyUnusable) as error:
        raise KeyUnusable(
            f"{path} is no Ed25519 public key in PEM; `openssl pkey -in PRIVATE_KEY -pubout -out PUBLIC_KEY` "
            "makes it of the private one, which stays where it is"
        ) from error


def ensure_key(path: Path) -> None:
    """Make a key that only its owner can read, unless there is one; never half of one. Raises `OSError`."""
    if path.exists():
        return
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    unfinished = path.with_name(f"{path.name}.{uuid4().hex}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(unfinished, path)
    finally:
        unfinished.unlink()
