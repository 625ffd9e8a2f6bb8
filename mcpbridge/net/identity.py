"""
That a server is who we meant: its certificate names the host that we connect to.

Whom to believe is another matter, of L{IPolicyForHTTPS}. Twisted 26.10 compares names as well, but takes a certificate
that names no host at all for any host: service_identity then raises L{CertificateError}, which it logs and forgets.
"""

from __future__ import annotations

from weakref import ref

import attrs
from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(IOpenSSLClientConnectionCreator)
@attrs.frozen
class NamedHost:
    """
    Makes connections to one host alone.

    @ivar creator: what makes them otherwise.
    @ivar host: its name in ASCII, or its address without brackets.
    @raise ValueError: no certificate can name such a host.
    """

    creator: IOpenSSLClientConnectionCreator
    host: str
    _expected: DNS_ID | IPAddress_ID = attrs.field(init=False, repr=False)

    @_expected.default
    def _identity(self) -> DNS_ID | IPAddress_ID:
        is_address = isIPAddress(self.host) or isIPv6Address(self.host)
        return IPAddress_ID(self.host) if is_address else DNS_ID(self.host)

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See L{IOpenSSLClientConnectionCreator}. A host of another name ends the protocol with the reason."""
        connection: SSL.Connection = self.creator.clientConnectionForTLS(tlsProtocol)
        protocol = ref(tlsProtocol)  # It has the connection, which has this.

        def verify(_: SSL.Connection, certificate: X509, __: int, depth: int, trusted: int) -> bool:
            if depth or not trusted:
                return bool(trusted)
            try:
                verify_service_identity(extract_patterns(certificate), [self._expected], [])
            except (VerificationError, CertificateError):
                failed = protocol()
                if failed is not None:
                    failed.failVerification(Failure())
                return False
            return True

        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
        return connection
