"""
Tests of L{mcpbridge.net.trust}.
"""

from __future__ import annotations

import datetime as dt
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface.verify import verifyObject

from mcpbridge.net.failures import NotConnected
from mcpbridge.net.trust import TrustPolicy


def certificate(name: str = "localhost") -> tuple[bytes, bytes]:
    """A certificate that signed itself, and its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class TrustTests(SynchronousTestCase):
    """Whose certificates are believed."""

    def _write(self, name: str, data: bytes) -> str:
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.mkdir(self.folder)
        self.cert, self.key = certificate()

    def test_door(self) -> None:
        """It is a policy, and makes what connections need."""
        policy = TrustPolicy(self._write("ca", self.cert), self._write("both", self.cert + self.key))

        verifyObject(IPolicyForHTTPS, policy)
        self.assertTrue(IOpenSSLClientConnectionCreator.providedBy(policy.creatorForNetloc(b"mcp.example.com", 443)))

    def test_key_apart(self) -> None:
        """The key may be in a file of its own; the system's authorities hold where nothing is said."""
        policy = TrustPolicy(None, self._write("cert", self.cert), self._write("key", self.key))

        self.assertTrue(IOpenSSLClientConnectionCreator.providedBy(policy.creatorForNetloc(b"mcp.example.com", 443)))

    def test_unusable(self) -> None:
        """What cannot be used is named, and shown not at all."""
        empty, wrong = (
            self._write("empty", b""),
            self._write("wrong", b"-----BEGIN CERTIFICATE-----hush-----END CERTIFICATE-----"),
        )
        cert = self._write("cert", self.cert)

        for policy, text in (
            (TrustPolicy(os.path.join(self.folder, "nowhere")), "tls.caFile"),
            (TrustPolicy(empty), "tls.caFile"),
            (TrustPolicy(wrong), "tls.caFile"),
            (TrustPolicy(None, cert), "tls.certFile"),
            (TrustPolicy(None, cert, os.path.join(self.folder, "nowhere")), "tls.keyFile"),
            (TrustPolicy(None, cert, self._write("other", certificate()[1])), "tls.certFile"),
        ):
            error = self.assertRaises(NotConnected, policy.creatorForNetloc, b"x.example", 443)
            self.assertIn(text, str(error))
            self.assertNotIn("hush", str(error))
