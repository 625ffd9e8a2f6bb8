"""
Signing assertions with a private key (RFC 7515, RFC 7518).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mcpbridge.core.errors import ConfigurationError
from mcpbridge.core.oauth.assertion import choose_algorithm, signed, signing_input

_Key: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

#: RFC 7518, 3.3: smaller ones must not be used.
_LEAST_BITS = 2048

_CURVES: Mapping[str, tuple[str, hashes.HashAlgorithm, int]] = {
    "secp256r1": ("ES256", hashes.SHA256(), 32),
    "secp384r1": ("ES384", hashes.SHA384(), 48),
    "secp521r1": ("ES512", hashes.SHA512(), 66),
}
_HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}


@attrs.frozen
class Signer:
    """
    A key and what it can do.

    @ivar algorithms: the best first.
    """

    _key: _Key = attrs.field(repr=False)
    algorithms: tuple[str, ...]

    @classmethod
    def from_pem(cls, pem: str) -> Signer:
        """
        @raise ConfigurationError: it is no private key that we can sign with.
        """
        try:
            key = load_pem_private_key(pem.encode("ascii"), None)
        except (ValueError, TypeError, UnicodeEncodeError):
            raise ConfigurationError("oauth.privateKey is no private key in PEM, or has a passphrase") from None
        if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _LEAST_BITS:
            return cls(key, ("RS256", "PS256", "RS384", "PS384", "RS512", "PS512"))
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
            return cls(key, (_CURVES[key.curve.name][0],))
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return cls(key, ("EdDSA", "Ed25519"))
        raise ConfigurationError(
            f"oauth.privateKey is neither RSA of {_LEAST_BITS} bits nor P-256, P-384, P-521 or Ed25519"
        )

    def assertion(
        self, claims: Mapping[str, Any], supported: tuple[str, ...] | None, algorithm: str | None, key_id: str | None
    ) -> str:
        """
        Sign these claims.

        @param supported: the algorithms the server takes; L{None} if it does not say.
        @param algorithm: the one that the user wants.
        @raise IdentityUnavailable: there is none that fits.
        """
        chosen = choose_algorithm(self.algorithms, supported, algorithm)
        message = signing_input(chosen, claims, key_id)
        return signed(message, self._signature(chosen, message))

    def _signature(self, algorithm: str, message: bytes) -> bytes:
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(message)
        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            _, digest, size = _CURVES[self._key.curve.name]
            r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(digest)))
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        digest = _HASHES[algorithm[2:]]
        if algorithm.startswith("PS"):
            return self._key.sign(message, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        return self._key.sign(message, padding.PKCS1v15(), digest)
