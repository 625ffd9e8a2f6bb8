"""
Tests of L{mcpbridge.net.identity}: real handshakes, in memory.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from OpenSSL.crypto import X509, PKey
from service_identity import CertificateError, VerificationError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.net.identity import NamedHost

KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(*names: x509.GeneralName) -> x509.Certificate:
    """One that signed itself, and names these hosts; C{localhost} is its common name, as it was done in old times."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256())


class FakeProtocol:
    """Hears of failures."""

    def __init__(self) -> None:
        # Twisted asks it what the application speaks.
        self.factory = self.wrappedFactory = self
        self.reasons: list[type[BaseException]] = []

    def failVerification(self, reason: Failure) -> None:
        """See L{twisted.protocols.tls.TLSMemoryBIOProtocol}."""
        assert reason.type is not None
        self.reasons.append(reason.type)


class NamedHostTests(SynchronousTestCase):
    """Which certificates do for which host, though their authority is believed."""

    def shake(self, host: str, shown: x509.Certificate, believed: x509.Certificate | None = None) -> Any:
        """
        Shake hands with a server that shows this certificate.

        @return: whether it came about, and what the protocol was told.
        """
        root = trustRootFromCertificates([Certificate(X509.from_cryptography(believed or shown))])
        protocol: Any = FakeProtocol()
        client = NamedHost(optionsForClientTLS(host, root), host).clientConnectionForTLS(protocol)
        client.set_connect_state()
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(X509.from_cryptography(shown))
        context.use_privatekey(PKey.from_cryptography_key(KEY))
        server = SSL.Connection(context, None)
        server.set_accept_state()
        done = set()
        for _ in range(4):
            for one, other in ((client, server), (server, client)):
                with contextlib.suppress(SSL.Error):
                    one.do_handshake()
                    done.add(one)
                with contextlib.suppress(SSL.WantReadError):
                    other.bio_write(one.bio_read(65536))
        return client in done, protocol.reasons

    def test_door(self) -> None:
        """It can be used in place of what it is made of."""
        verifyObject(IOpenSSLClientConnectionCreator, NamedHost(optionsForClientTLS("localhost"), "localhost"))

    def test_named(self) -> None:
        """One that names the host, or the address, does."""
        names = (
            x509.DNSName("localhost"),
            x509.DNSName("*.example.com"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.IPAddress(ipaddress.ip_address("::1")),
        )
        for host in ("localhost", "mcp.example.com", "127.0.0.1", "::1"):
            self.assertEqual((True, []), self.shake(host, certificate(*names)), host)

    def test_other_name(self) -> None:
        """One for somebody else does not, and the reason is told."""
        for host in ("localhost", "127.0.0.1"):
            self.assertEqual((False, [VerificationError]), self.shake(host, certificate(x509.DNSName("other.example"))))

    def test_no_name(self) -> None:
        """One that names no host does for none."""
        for host in ("localhost", "127.0.0.1"):
            self.assertEqual((False, [CertificateError]), self.shake(host, certificate()))

    def test_nameless(self) -> None:
        """What no certificate can name is refused before anybody connects there."""
        for host in ("2130706433", "*.example.com"):
            self.assertRaises(ValueError, NamedHost, optionsForClientTLS("localhost"), host)

    def test_not_believed(self) -> None:
        """Nor does the right name alone: who signed it has to be believed."""
        shown, believed = certificate(x509.DNSName("localhost")), certificate(x509.DNSName("localhost"))

        self.assertEqual((False, []), self.shake("localhost", shown, believed))
