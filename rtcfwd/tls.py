"""HTTPS: a certificate that is read anew when its files change, or a self-signed one for a try-out.

New connections get the new certificate; those that are open, and all sessions, go on as they are.
Files that do not load together (half of a renewal, say) leave the old certificate in use, with one
line in the log. The self-signed certificate is made at the start, for the names and addresses of
this machine; its key leaves memory only for the moment in which OpenSSL reads it from a file that
nobody else may read.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import logging
import os
import socket
import ssl
import tempfile
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

logger = logging.getLogger(__name__)

POLL_S = 5.0
_VALID_FOR = datetime.timedelta(days=90)
_CLOCK_SKEW = datetime.timedelta(days=1)


class TlsError(Exception):
    """The certificate or its key cannot be used; one line that says which and why."""


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])

    def no_password() -> str:
        raise ValueError("the key is encrypted; store it without a password")

    try:
        context.load_cert_chain(certificate, key, password=no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        why = (
            error.strerror or getattr(error, "reason", None) if isinstance(error, OSError) else None
        )
        raise TlsError(f"{certificate}, {key}: {why or error}") from None
    return context


class Tls:
    """``context``: for the listening socket. In each handshake it gives way to the newest one,
    which is made in another thread: a context that is in use is never changed."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Reads the files. Raises :class:`TlsError`."""
        self._files = (certificate, key)
        self._stamp = self._look()
        self.context = self._newest = _context(certificate, key)
        self.context.sni_callback = self._choose
        self._watch: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look at the files every :data:`POLL_S` seconds, until :meth:`close`."""
        self._watch = asyncio.create_task(self._poll())

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            await asyncio.to_thread(self.reload)

    def reload(self, *, always: bool = False) -> bool:
        """Read the files if they have changed; whether that was done. Blocks; never raises for
        what is in them."""
        stamp = self._look()
        if stamp is None or (stamp == self._stamp and not always):
            return False
        self._stamp = stamp
        try:
            self._newest = _context(*self._files)
        except TlsError as error:
            logger.error("the old certificate stays: %s", error)
            return False
        logger.info("certificate %s was read anew", self._files[0])
        return True

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext
    ) -> None:
        """OpenSSL asks for every ClientHello, also for one that names no server."""
        connection.context = self._newest

    def _look(self) -> tuple[tuple[int, int, int], ...] | None:
        try:
            stats = [path.stat() for path in self._files]
        except OSError:
            return None  # between the two steps of a renewal
        return tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in stats)


def self_signed_context(addresses: Iterable[str]) -> ssl.SSLContext:
    """A context with a new certificate for ``localhost``, this machine's name and addresses."""
    certificate, key = self_signed(["localhost", socket.gethostname()], addresses)
    with tempfile.TemporaryDirectory() as folder:  # mode 0700
        path = Path(folder) / "both.pem"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key + certificate)
        return _context(path, path)


def self_signed(names: Iterable[str], addresses: Iterable[str]) -> tuple[bytes, bytes]:
    """Certificate and key (PEM), ECDSA P-256, good for 90 days. Names that are no DNS names are
    left out."""
    key = ec.generate_private_key(ec.SECP256R1())
    alternative: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        if name.isascii() and 0 < len(name) <= 253 and all(name.split(".")):
            alternative.append(x509.DNSName(name))
    for text in dict.fromkeys(addresses):
        alternative.append(x509.IPAddress(ipaddress.ip_address(text.partition("%")[0])))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rtcfwd self-signed")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _VALID_FOR)
        .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return certificate.public_bytes(pem), key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
