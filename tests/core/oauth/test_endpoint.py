"""
Tests of L{mcpbridge.core.oauth.endpoint}, with oauthlib as the oracle for what a form has to say.
"""

from __future__ import annotations

from base64 import b64decode
from urllib.parse import parse_qsl, unquote_plus

from hypothesis import given, settings
from hypothesis import strategies as st
from oauthlib.oauth2 import BackendApplicationClient, DeviceClient, WebApplicationClient
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.oauth.clients import AuthMethod, Client
from mcpbridge.core.oauth.endpoint import (
    Form,
    client_credentials_params,
    code_params,
    device_code_params,
    device_params,
    exchange_params,
    form,
    jwt_bearer_params,
    refresh_params,
    revocation_params,
)

_URL = "https://auth.example.com/token"
_RESOURCE = "https://mcp.example.com/mcp"
_public = Client("cl ient")


def _said(found: Form) -> dict[str, str]:
    pairs = parse_qsl(found.body.decode("ascii"), keep_blank_values=True)
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


class OracleTests(SynchronousTestCase):
    """The same members with the same values as oauthlib has."""

    def test_code(self) -> None:
        """RFC 6749, 4.1.3 with RFC 7636 and RFC 8707."""
        oracle = WebApplicationClient("cl ient").prepare_request_body(
            code="c+/=", redirect_uri="http://127.0.0.1:1/cb", code_verifier="v", resource=_RESOURCE
        )

        ours = _said(form(_URL, code_params("c+/=", "http://127.0.0.1:1/cb", "v", _RESOURCE), _public))

        self.assertEqual(dict(parse_qsl(oracle)), ours)

    def test_refresh(self) -> None:
        """RFC 6749, 6. The oracle leaves the client out, which a public one must name."""
        oracle = WebApplicationClient("x").prepare_refresh_body(refresh_token="r&=", resource=_RESOURCE)

        ours = _said(form(_URL, refresh_params("r&=", _RESOURCE), _public))

        self.assertEqual({**dict(parse_qsl(oracle)), "client_id": "cl ient"}, ours)

    def test_client_credentials(self) -> None:
        """RFC 6749, 4.4.2."""
        oracle = BackendApplicationClient("x").prepare_request_body(scope=["a", "b"], resource=_RESOURCE)

        ours = _said(form(_URL, client_credentials_params(_RESOURCE, ("a", "b")), Client("x", "s", AuthMethod.BASIC)))

        self.assertEqual(dict(parse_qsl(oracle)), ours)

    def test_device(self) -> None:
        """RFC 8628, 3.4. The oracle leaves the client out here too, and says an empty scope."""
        oracle = DeviceClient("cl ient").prepare_request_body(device_code="d", scope=None)

        ours = _said(form(_URL, device_code_params("d", None), _public))

        said = {name: value for name, value in parse_qsl(oracle) if name != "scope"}
        self.assertEqual({**said, "client_id": "cl ient"}, ours)


class FormTests(SynchronousTestCase):
    """How a client shows who it is."""

    def test_methods(self) -> None:
        """Each in its place, and in no other."""
        params = {"a": "1", "left out": None}

        found = [
            form(_URL, params, Client("id", "se:c", method), "jwt")
            for method in (AuthMethod.NONE, AuthMethod.BASIC, AuthMethod.POST, AuthMethod.PRIVATE_KEY_JWT)
        ]

        self.assertEqual(
            [
                {"a": "1", "client_id": "id"},
                {"a": "1"},
                {"a": "1", "client_id": "id", "client_secret": "se:c"},
                {
                    "a": "1",
                    "client_id": "id",
                    "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                    "client_assertion": "jwt",
                },
            ],
            [_said(one) for one in found],
        )
        self.assertEqual([0, 1, 0, 0], [len(one.headers) for one in found])

    @settings(max_examples=100, derandomize=True)
    @given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1), st.text(min_size=1))
    def test_basic(self, client_id: str, secret: str) -> None:
        """Whatever id and secret are, the server gets them back, and the header has one line."""
        found = form(_URL, {}, Client(client_id, secret, AuthMethod.BASIC))

        ((name, value),) = found.headers
        self.assertEqual(b"Authorization", name)
        self.assertNotIn(b"\n", value)
        encoded_id, _, encoded_secret = b64decode(value.removeprefix(b"Basic ")).decode("ascii").partition(":")
        self.assertEqual((client_id, secret), (unquote_plus(encoded_id), unquote_plus(encoded_secret)))

    def test_secrets_are_not_shown(self) -> None:
        """No repr has them."""
        self.assertNotIn("hush", repr(form(_URL, {"refresh_token": "hush"}, Client("x", "hush", AuthMethod.POST))))

    def test_others(self) -> None:
        """The forms that have no oracle."""
        self.assertEqual({"scope": "a", "resource": _RESOURCE}, device_params(_RESOURCE, ("a",)))
        self.assertEqual({"token": "t", "token_type_hint": "refresh_token"}, revocation_params("t", "refresh_token"))
        self.assertEqual(
            {
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                "requested_token_type": "urn:ietf:params:oauth:token-type:id-jag",
                "audience": "https://auth.example.com",
                "resource": _RESOURCE,
                "scope": None,
                "subject_token": "idt",
                "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
            },
            exchange_params(
                "idt",
                "urn:ietf:params:oauth:token-type:id_token",
                "urn:ietf:params:oauth:token-type:id-jag",
                "https://auth.example.com",
                _RESOURCE,
                None,
            ),
        )
        self.assertEqual(
            {
                "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
                "assertion": "jag",
                "resource": _RESOURCE,
                "scope": "a b",
            },
            jwt_bearer_params("jag", _RESOURCE, ("a", "b")),
        )
