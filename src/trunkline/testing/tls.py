"""A certificate for localhost, made anew in each process."""

from __future__ import annotations

import functools
import ssl
import subprocess
import tempfile
from pathlib import Path

__all__ = ["make_certificate", "new_tls_contexts", "tls_contexts"]


@functools.cache
def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server named localhost, and of a client that trusts it alone.

    Raises:
        FileNotFoundError: if there is no `openssl` command.
    """
    return new_tls_contexts()


def new_tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The same, not shared with other tests; the client has the certificate, too, and the server trusts it."""
    with tempfile.TemporaryDirectory() as directory:
        certificate, key = make_certificate(Path(directory))
        server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_context.load_cert_chain(certificate, key)
        server_context.load_verify_locations(certificate)
        client_context = ssl.create_default_context(cafile=str(certificate))
        client_context.load_cert_chain(certificate, key)
    return server_context, client_context


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """Make a certificate for localhost that signs itself, and its key, as files in a directory; return their paths.

    Raises:
        FileNotFoundError: if there is no `openssl` command.
    """
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    return certificate, key
