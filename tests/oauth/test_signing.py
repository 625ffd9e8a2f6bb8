"""
Tests of L{mcpbridge.oauth.signing}, with PyJWT as the oracle.
"""

from __future__ import annotations

from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.errors import ConfigurationError
from mcpbridge.core.oauth.errors import IdentityUnavailable
from mcpbridge.oauth.signing import Signer

_rsa = rsa.generate_private_key(65537, 2048)


def _pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


class SignerTests(SynchronousTestCase):
    """What is signed is believed."""

    def test_oracle(self) -> None:
        """Every kind of key, every algorithm."""
        kinds: list[tuple[Any, tuple[str, ...]]] = [
            (_rsa, ("RS256", "PS256", "RS384", "PS384", "RS512", "PS512")),
            (ec.generate_private_key(ec.SECP256R1()), ("ES256",)),
            (ec.generate_private_key(ec.SECP384R1()), ("ES384",)),
            (ec.generate_private_key(ec.SECP521R1()), ("ES512",)),
            (ed25519.Ed25519PrivateKey.generate(), ("EdDSA",)),
        ]

        for key, algorithms in kinds:
            signer = Signer.from_pem(_pem(key))
            for algorithm in algorithms:
                made = signer.assertion({"aud": "x", "sub": "y"}, (algorithm,), None, "k1")
                self.assertEqual(
                    {"aud": "x", "sub": "y"},
                    jwt.decode(made, key.public_key(), algorithms=[algorithm], audience="x"),
                )
                self.assertEqual("k1", jwt.get_unverified_header(made)["kid"])

    def test_unfit(self) -> None:
        """What the server does not take is not sent."""
        self.assertRaises(IdentityUnavailable, Signer.from_pem(_pem(_rsa)).assertion, {}, ("ES256",), None, None)

    def test_no_key(self) -> None:
        """What is no key is not shown."""
        weak = rsa.generate_private_key(65537, 1024)
        for pem in ("", "hush", "\u00e9", _pem(weak), _pem(ec.generate_private_key(ec.SECP256K1()))):
            error = self.assertRaises(ConfigurationError, Signer.from_pem, pem)
            self.assertNotIn("hush", str(error))

    def test_key_is_not_shown(self) -> None:
        """Nor by a repr."""
        self.assertNotIn("RSAPrivateKey", repr(Signer.from_pem(_pem(_rsa))))
