"""
Tests of L{mcpbridge.configuration.authorization}.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration import HTTPUpstream, InvalidConfiguration, digest, load
from mcpbridge.configuration.authorization import (
    NOTHING_SAID,
    TLS,
    Authorization,
    Grant,
    IdentityProvider,
    OAuth,
    Secret,
)
from mcpbridge.core.oauth.clients import AuthMethod

_URL = "https://mcp.example.com/mcp"


class ReadTests(SynchronousTestCase):
    """What the user may write, and what becomes of it."""

    def _upstream(self, members: dict[str, Any], url: str = _URL) -> HTTPUpstream:
        inline = json.dumps({"s": {"url": url, **members}})
        upstream = load({"HOME": "/nowhere", "KEY": "hush"}, inline=inline).upstreams["s"]
        assert isinstance(upstream, HTTPUpstream)
        return upstream

    def _read(self, members: dict[str, Any]) -> Authorization:
        return self._upstream(members).authorization

    def _problems(self, members: dict[str, Any]) -> str:
        error = self.assertRaises(InvalidConfiguration, self._read, members)
        self.assertNotIn("hush", str(error) + "".join(error.problems))
        return "\n".join(error.problems)

    def test_nothing(self) -> None:
        """Nothing said is OAuth by the book; it is switched off in a word."""
        self.assertEqual(NOTHING_SAID, self._read({}))
        self.assertEqual(NOTHING_SAID, self._read({"oauth": {}}))
        self.assertEqual(Authorization(None), self._read({"oauth": False}))

    def test_secrets(self) -> None:
        """A text, a file, a program."""
        table: list[tuple[Any, Secret]] = [
            ("${KEY}", Secret("hush")),
            ({"file": "/x/y"}, Secret(file="/x/y")),
            ({"command": ["a", "b c"]}, Secret(command=("a", "b c"))),
            ({"command": "a 'b c'"}, Secret(command=("a", "b c"))),
        ]

        for written, secret in table:
            self.assertEqual(Authorization(None, secret), self._read({"bearerToken": written}))

    def test_helper(self) -> None:
        """A program for headers takes the place of OAuth, unless both are wanted."""
        self.assertEqual(Authorization(None, None, ("a", "b")), self._read({"headersHelper": "a b"}))
        self.assertEqual(Authorization(OAuth(), None, ("a",)), self._read({"headersHelper": ["a"], "oauth": {}}))

    def test_oauth(self) -> None:
        """All of it."""
        found = self._read(
            {
                "oauth": {
                    "issuer": "https://Auth.example.com/",
                    "clientId": "me",
                    "clientSecret": "${KEY}",
                    "authMethod": "client_secret_post",
                    "clientDocument": "https://app.example.com/c.json",
                    "keyId": "k",
                    "algorithm": "ES256",
                    "audience": "token_endpoint",
                    "scopes": "a b",
                    "resource": False,
                    "redirectUrl": "https://cb.example.com/back",
                    "callbackPort": 3118,
                    "trustedHosts": ["IDP.corp.example"],
                    "requirePkce": False,
                    "account": "me@work",
                }
            }
        )

        self.assertEqual(
            OAuth(
                issuer="https://Auth.example.com/",
                client_id="me",
                client_secret=Secret("hush"),
                auth_method=AuthMethod.POST,
                client_document="https://app.example.com/c.json",
                key_id="k",
                algorithm="ES256",
                audience="token_endpoint",
                scopes=("a", "b"),
                resource=False,
                redirect_url="https://cb.example.com/back",
                callback_port=3118,
                trusted_hosts=frozenset({"idp.corp.example"}),
                require_pkce=False,
                account="me@work",
            ),
            found.oauth,
        )

    def test_enterprise(self) -> None:
        """An identity provider that vouches."""
        found = self._read(
            {
                "oauth": {
                    "grant": "enterprise",
                    "issuer": "https://auth.example.com",
                    "clientId": "me",
                    "identityProvider": {"tokenEndpoint": "https://idp.example.com/t", "token": {"file": "/t"}},
                }
            }
        ).oauth

        assert found is not None
        self.assertEqual(
            (Grant.ENTERPRISE, IdentityProvider("https://idp.example.com/t", Secret(file="/t"))),
            (found.grant, found.provider),
        )

    def test_network(self) -> None:
        """Certificates and proxies."""
        found = self._read({"tls": {"caFile": "/ca", "certFile": "/c", "keyFile": "/k"}, "proxy": "http://p:3128"})

        self.assertEqual((TLS("/ca", "/c", "/k"), "http://p:3128"), (found.tls, found.proxy))
        self.assertEqual("", self._read({"proxy": False}).proxy)

    def test_mistakes(self) -> None:
        """Each is told, with its place, and no secret is."""
        table: list[tuple[dict[str, Any], str]] = [
            ({"bearerToken": {}}, "s.bearerToken: must be a text"),
            ({"bearerToken": {"file": "/x", "command": ["y"]}}, "s.bearerToken: must be a text"),
            ({"bearerToken": 5}, "s.bearerToken: must be"),
            ({"bearerToken": "hush", "headers": {"authorization": "x"}}, "keep one of the two"),
            ({"bearerToken": "hush", "oauth": {"clientId": "x"}}, "there is a token already"),
            ({"headersHelper": ""}, "s.headersHelper: must not be empty"),
            ({"headersHelper": "a 'b"}, "s.headersHelper: cannot be cut into words"),
            ({"oauth": {"clientSecret": "hush"}}, 's.oauth.clientSecret: belongs to a "clientId"'),
            ({"oauth": {"grant": "client_credentials"}}, 'needs a "clientId"'),
            ({"oauth": {"grant": "client_credentials", "clientId": "x"}}, 'needs a "clientSecret" or a "privateKey"'),
            ({"oauth": {"grant": "enterprise", "clientId": "x"}}, "belong together"),
            ({"oauth": {"issuer": "http://auth.example.com"}}, "s.oauth.issuer: this URL is not https"),
            ({"oauth": {"redirectUrl": "http://cb.example.com/"}}, "s.oauth.redirectUrl: this URL is not https"),
            ({"oauth": {"clientDocument": "https://app.example.com"}}, "this URL has no path"),
            ({"oauth": {"callbackPort": 80}}, "s.oauth.callbackPort: must be from 1024"),
            ({"oauth": {"scopes": 'a "b"'}}, "no scope"),
            ({"oauth": {"trustedHosts": ["https://x"]}}, "no host"),
            ({"oauth": {"account": "two words"}}, "s.oauth.account: must be a word"),
            ({"oauth": {"clientID": "x"}}, 'did you mean "clientId"'),
            ({"oauth": 5}, "s.oauth: must be an object"),
            ({"tls": {"keyFile": "/k"}}, 's.tls.keyFile: belongs to a "certFile"'),
            ({"proxy": "socks5://x"}, "s.proxy: must begin with"),
        ]

        for members, sentence in table:
            self.assertIn(sentence, self._problems(members))

    def test_child(self) -> None:
        """A program is not let in anywhere."""
        error = self.assertRaises(
            InvalidConfiguration, load, {"HOME": "/x"}, inline=json.dumps({"s": {"command": "x", "oauth": {}}})
        )

        self.assertIn('belongs to a server with "url"', str(error.problems))

    def test_secrets_are_not_shown(self) -> None:
        """No repr has them."""
        shown = repr(self._upstream({"bearerToken": "${KEY}"}))
        shown += repr(self._upstream({"oauth": {"clientId": "x", "clientSecret": "${KEY}"}}))
        shown += repr(self._upstream({"headersHelper": ["x", "${KEY}"], "proxy": "http://u:${KEY}@p"}))

        self.assertNotIn("hush", shown)

    def test_digest(self) -> None:
        """Another account is another view of a server; saying nothing changes nothing."""
        plain = digest(self._upstream({}))

        self.assertEqual(plain, digest(self._upstream({"oauth": {}})))
        self.assertNotEqual(plain, digest(self._upstream({"oauth": {"account": "work"}})))
