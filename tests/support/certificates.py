"""A server that proves to be localhost, to whoever trusts its certificate."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Identity:
    """A certificate in PEM, and a server's context with it."""

    certificate: Path
    server: ssl.SSLContext


def self_signed(folder: Path) -> Identity:
    """A certificate for the name localhost; skips the test where openssl is missing."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command makes the certificate")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
            *["-keyout", str(key), "-out", str(certificate), "-days", "2"],
            *["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return Identity(certificate, context)
