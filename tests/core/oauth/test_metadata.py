"""
Tests of L{mcpbridge.core.oauth.metadata}.
"""

from __future__ import annotations

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.oauth.errors import MetadataRefused
from mcpbridge.core.oauth.metadata import (
    ResourceMetadata,
    ServerMetadata,
    assumed_server_metadata,
    canonical_resource,
    read_resource_metadata,
    read_server_metadata,
    required,
    resource_metadata_urls,
    server_metadata_urls,
)
from mcpbridge.core.oauth.urls import URLPolicy
from tests.core.oauth.facts import ISSUER, SERVER, UPSTREAM, document, server_document

_policy = URLPolicy(UPSTREAM)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10) | st.just(ISSUER),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


class PlaceTests(SynchronousTestCase):
    """Where metadata is looked for."""

    def test_resource(self) -> None:
        """The challenge, then beside the path, then at the root; each once."""
        well_known = "https://mcp.example.com/.well-known/oauth-protected-resource"

        self.assertEqual(
            ("https://x.example/m", f"{well_known}/tenant/mcp", well_known),
            resource_metadata_urls(UPSTREAM, "https://x.example/m"),
        )
        self.assertEqual((well_known,), resource_metadata_urls("https://mcp.example.com/", None))
        self.assertEqual((well_known,), resource_metadata_urls("https://mcp.example.com/?key=secret", well_known))

    def test_server(self) -> None:
        """In the order of the specification, with a path and without."""
        self.assertEqual(
            (
                "https://a.example/.well-known/oauth-authorization-server/t1",
                "https://a.example/.well-known/openid-configuration/t1",
                "https://a.example/t1/.well-known/openid-configuration",
            ),
            server_metadata_urls("https://a.example/t1"),
        )
        for issuer in ("https://a.example", "https://a.example/"):
            self.assertEqual(
                (
                    "https://a.example/.well-known/oauth-authorization-server",
                    "https://a.example/.well-known/openid-configuration",
                ),
                server_metadata_urls(issuer),
            )


class ResourceTests(SynchronousTestCase):
    """What the resource says of itself."""

    def test_believed(self) -> None:
        """The resource itself, or a parent of it, exactly as published."""
        for resource in (
            UPSTREAM,
            "https://mcp.example.com",
            "https://mcp.example.com/",
            "https://MCP.example.com/tenant",
        ):
            found = read_resource_metadata(
                document(resource=resource, authorization_servers=[ISSUER], scopes_supported=["a", "b"]), _policy
            )

            self.assertEqual(ResourceMetadata(resource, (ISSUER,), ("a", "b")), found)

    def test_another(self) -> None:
        """A token for another resource is not what we want to get."""
        for resource in (
            "https://evil.example/tenant/mcp",
            "http://mcp.example.com/tenant/mcp",
            "https://mcp.example.com/tenant/mcp/deeper",
            "https://mcp.example.com/ten",
            "https://mcp.example.com/tenant/../tenant",
            "https://mcp.example.com:8443/tenant/mcp",
            "https://mcp.example.com/#x",
            "https://mcp.example.com/?q=1",
            "",
            7,
        ):
            self.assertRaises(
                MetadataRefused,
                read_resource_metadata,
                document(resource=resource, authorization_servers=[ISSUER]),
                _policy,
            )

    def test_absent_members(self) -> None:
        """What is not said is not made up."""
        self.assertEqual(ResourceMetadata(UPSTREAM, (), None), read_resource_metadata(b"{}", _policy))

    def test_untrusted_servers(self) -> None:
        """Those that cannot be trusted are left out; if there is no other, that is an error."""
        mixed = read_resource_metadata(
            document(authorization_servers=["http://10.0.0.1", "https://u@x.example", ISSUER, ISSUER, 3]), _policy
        )

        self.assertEqual((ISSUER,), mixed.servers)
        for server in ("http://169.254.169.254/", "https://a.example/?x", "file:///x"):
            self.assertRaises(
                MetadataRefused, read_resource_metadata, document(authorization_servers=[server]), _policy
            )

    @settings(max_examples=200, derandomize=True)
    @given(st.dictionaries(st.sampled_from(("resource", "authorization_servers", "scopes_supported")), _json))
    def test_anything(self, said: dict[str, object]) -> None:
        """Any document is read or refused."""
        try:
            found = read_resource_metadata(document(**said), _policy)
        except MetadataRefused:
            return
        self.assertIsInstance(found.resource, str)


class ServerTests(SynchronousTestCase):
    """What the authorization server says of itself."""

    def test_believed(self) -> None:
        """All that is used."""
        found = read_server_metadata(
            server_document(
                revocation_endpoint=f"{ISSUER}/revoke",
                device_authorization_endpoint=f"{ISSUER}/device",
                scopes_supported=["a", "offline_access"],
                grant_types_supported=["authorization_code"],
                token_endpoint_auth_methods_supported=["none"],
                token_endpoint_auth_signing_alg_values_supported=["ES256"],
                client_id_metadata_document_supported=True,
                authorization_response_iss_parameter_supported=True,
            ),
            ISSUER,
            _policy,
        )

        self.assertEqual(
            ServerMetadata(
                ISSUER,
                f"{ISSUER}/authorize",
                f"{ISSUER}/token",
                f"{ISSUER}/register",
                f"{ISSUER}/revoke",
                f"{ISSUER}/device",
                ("a", "offline_access"),
                ("authorization_code",),
                ("S256",),
                ("none",),
                ("ES256",),
                client_id_documents=True,
                names_itself=True,
            ),
            found,
        )

    def test_issuer(self) -> None:
        """Byte for byte the one asked: no slash, no case, no port is overlooked."""
        for issuer in (f"{ISSUER}/", "https://AUTH.example.com", f"{ISSUER}:443", "https://evil.example", None, 5):
            self.assertRaises(
                MetadataRefused, read_server_metadata, document(issuer=issuer, token_endpoint=ISSUER), ISSUER, _policy
            )

    def test_legacy_issuer(self) -> None:
        """Where we made the issuer up from an origin, a slash is no lie."""
        found = read_server_metadata(server_document(f"{ISSUER}/"), ISSUER, _policy, legacy=True)

        self.assertEqual((f"{ISSUER}/", True), (found.issuer, found.legacy))

    def test_untrusted_endpoint(self) -> None:
        """One endpoint that cannot be trusted spoils the document."""
        for name in (
            "authorization_endpoint",
            "token_endpoint",
            "registration_endpoint",
            "revocation_endpoint",
            "device_authorization_endpoint",
        ):
            for url in ("http://auth.example.com/x", "http://127.0.0.1/x", "javascript:1", 5, ""):
                self.assertRaises(
                    MetadataRefused, read_server_metadata, server_document(**{name: url}), ISSUER, _policy
                )

    def test_pkce(self) -> None:
        """S256 has to be there, unless it was waived, or nobody could say."""
        SERVER.require_pkce()
        attrs.evolve(SERVER, code_challenge_methods=None).require_pkce(waived=True)
        assumed_server_metadata(UPSTREAM).require_pkce()
        for methods, legacy in ((None, False), ((), False), (("plain",), False), (("plain",), True)):
            server = attrs.evolve(SERVER, code_challenge_methods=methods, legacy=legacy)
            self.assertRaises(MetadataRefused, server.require_pkce)

    def test_required(self) -> None:
        """What is missing is named."""
        self.assertEqual("x", required("x", "token_endpoint", ISSUER))
        error = self.assertRaises(MetadataRefused, required, None, "token_endpoint", ISSUER)
        self.assertEqual(f"the authorization server {ISSUER} has no token_endpoint", str(error))

    def test_garbage(self) -> None:
        """What is no JSON object is refused, however it is made."""
        for body in (b"", b"[]", b"null", b"<html>", b'{"issuer": NaN}', b"[" * 100_000, b"\xff", b'{"a":'):
            self.assertRaises(MetadataRefused, read_server_metadata, body, ISSUER, _policy)

    @settings(max_examples=200, derandomize=True)
    @given(
        st.dictionaries(
            st.sampled_from(
                (
                    "authorization_endpoint",
                    "code_challenge_methods_supported",
                    "scopes_supported",
                    "token_endpoint_auth_methods_supported",
                    "client_id_metadata_document_supported",
                )
            ),
            _json,
        )
    )
    def test_anything(self, said: dict[str, object]) -> None:
        """Any document is read or refused."""
        try:
            found = read_server_metadata(server_document(**said), ISSUER, _policy)
        except MetadataRefused:
            return
        self.assertEqual(ISSUER, found.issuer)


class CanonicalTests(SynchronousTestCase):
    """The name of a resource."""

    def test_canonical(self) -> None:
        """No slash at the end, no query, no default port."""
        table = {
            "https://MCP.example.com:443/mcp/?key=1": "https://mcp.example.com/mcp",
            "https://mcp.example.com/": "https://mcp.example.com",
            "http://127.0.0.1:8080/mcp": "http://127.0.0.1:8080/mcp",
        }

        self.assertEqual(list(table.values()), [canonical_resource(url) for url in table])
