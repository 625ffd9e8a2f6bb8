"""
Whose certificates are believed, and which one we show: other than the system's, for one upstream.
"""

from __future__ import annotations

import re
from typing import Any

import attrs
from OpenSSL.crypto import Error as CryptoError
from OpenSSL.SSL import Error as TLSError
from twisted.internet.error import VerifyError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from mcpbridge.net.failures import NotConnected

_pem = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@implementer(IPolicyForHTTPS)
@attrs.define(eq=False)
class TrustPolicy:
    """
    See the top of this module. Files are read when a connection is made, and again when they have been changed.

    @ivar _ca_file: PEM; L{None}: the system's, which C{SSL_CERT_FILE} may name.
    @ivar _cert_file: PEM, ours; L{None}: we show none.
    @ivar _key_file: PEM, its key; L{None}: in the same file.
    """

    _ca_file: str | None = None
    _cert_file: str | None = None
    _key_file: str | None = None

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        """
        How to make a connection to this host.

        @raise NotConnected: a file is not there or holds nothing that can be used.
        """
        root: Any = platformTrust() if self._ca_file is None else self._authorities(self._ca_file)
        ours = None if self._cert_file is None else self._certificate(self._cert_file)
        creator: IOpenSSLClientConnectionCreator = optionsForClientTLS(
            hostname.decode("ascii"), trustRoot=root, clientCertificate=ours
        )
        return creator

    def _authorities(self, path: str) -> Any:
        found = _pem.findall(_read(path, "tls.caFile"))
        try:
            certificates = [Certificate.loadPEM(pem) for pem in found]
        except (CryptoError, TLSError, ValueError):
            certificates = []
        if not certificates:
            raise NotConnected(f"tls.caFile: {path} holds no certificate in PEM")
        return trustRootFromCertificates(certificates)

    def _certificate(self, path: str) -> PrivateCertificate:
        data = _read(path, "tls.certFile")
        if self._key_file is not None:
            data = data + b"\n" + _read(self._key_file, "tls.keyFile")
        try:
            ours: PrivateCertificate = PrivateCertificate.loadPEM(data)
        except (CryptoError, TLSError, VerifyError, ValueError, TypeError):
            raise NotConnected(f"tls.certFile: {path} and its key cannot be used together") from None
        return ours


def _read(path: str, what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise NotConnected(f"{what}: {path} cannot be read: {error.strerror or error}") from None
