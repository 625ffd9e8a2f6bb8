"""
Tests of L{mcpbridge.core.oauth.discovery}.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.oauth.challenge import BearerChallenge
from mcpbridge.core.oauth.discovery import Discovery, Fetched, Script, discover
from mcpbridge.core.oauth.errors import DiscoveryFailed
from tests.core.oauth.facts import ISSUER, UPSTREAM, document, server_document

_ROOT = "https://mcp.example.com/.well-known/oauth-protected-resource"
_BESIDE = f"{_ROOT}/tenant/mcp"
_SERVER = f"{ISSUER}/.well-known/oauth-authorization-server"
_OPENID = f"{ISSUER}/.well-known/openid-configuration"
_LEGACY = "https://mcp.example.com/.well-known/oauth-authorization-server"


def _run(script: Script, web: Mapping[str, Fetched | bytes]) -> tuple[Discovery | str, list[str]]:
    """Run to its end against a web of documents; what is not there is a 404. Errors come back as text."""
    asked: list[str] = []
    try:
        fetch = next(script)
        while True:
            asked.append(fetch.url)
            found = web.get(fetch.url, Fetched(404))
            fetch = script.send(found if isinstance(found, Fetched) else Fetched(200, found))
    except StopIteration as end:
        return end.value, asked
    except DiscoveryFailed as error:
        return f"{'later: ' if error.temporary else ''}{error}", asked


def _resource(*servers: str, **members: object) -> bytes:
    return document(resource=UPSTREAM, authorization_servers=list(servers), **members)


class DiscoverTests(SynchronousTestCase):
    """Whom we find, and whom we ask on the way."""

    def _found(self, result: Discovery | str) -> Discovery:
        assert isinstance(result, Discovery), result
        return result

    def test_challenged(self) -> None:
        """The challenge says where, so nobody else is asked."""
        result, asked = _run(
            discover(UPSTREAM, BearerChallenge("https://mcp.example.com/meta")),
            {"https://mcp.example.com/meta": _resource(ISSUER, scopes_supported=["a"]), _SERVER: server_document()},
        )

        self.assertEqual(
            (UPSTREAM, ISSUER, ("a",)),
            (self._found(result).resource, self._found(result).server.issuer, self._found(result).scopes),
        )
        self.assertEqual(["https://mcp.example.com/meta", _SERVER], asked)

    def test_every_place(self) -> None:
        """Without a challenge each place is tried in its order; 404 and other refusals mean: the next."""
        result, asked = _run(
            discover(UPSTREAM, BearerChallenge("https://mcp.example.com/meta")),
            {_BESIDE: Fetched(401), _ROOT: _resource(ISSUER), _OPENID: server_document()},
        )

        self.assertEqual(ISSUER, self._found(result).server.issuer)
        self.assertEqual(["https://mcp.example.com/meta", _BESIDE, _ROOT, _SERVER, _OPENID], asked)

    def test_start_page(self) -> None:
        """A front end that answers all with its start page has no metadata there."""
        result, asked = _run(
            discover(UPSTREAM),
            {_BESIDE: b" <!DOCTYPE html>", _ROOT: _resource(ISSUER), _SERVER: b"<html>", _OPENID: server_document()},
        )

        self.assertEqual(ISSUER, self._found(result).server.issuer)
        self.assertEqual([_BESIDE, _ROOT, _SERVER, _OPENID], asked)

    def test_mismatch_ends(self) -> None:
        """What is wrong in one place is not made right by another."""
        wrong_resource = _run(discover(UPSTREAM), {_BESIDE: document(resource="https://evil.example/")})
        wrong_issuer = _run(
            discover(UPSTREAM),
            {_BESIDE: _resource(ISSUER), _SERVER: server_document("https://evil.example"), _OPENID: server_document()},
        )

        self.assertEqual([_BESIDE], wrong_resource[1])
        self.assertIn("another resource: https://evil.example/", str(wrong_resource[0]))
        self.assertEqual([_BESIDE, _SERVER], wrong_issuer[1])
        self.assertIn("must be identical", str(wrong_issuer[0]))

    def test_known_first(self) -> None:
        """Of several servers one that knows us is preferred, else the first that works."""
        web = {
            _BESIDE: _resource("https://one.example", ISSUER),
            "https://one.example/.well-known/oauth-authorization-server": server_document("https://one.example"),
            _SERVER: server_document(),
        }
        broken = {**web, "https://one.example/.well-known/oauth-authorization-server": b"[]"}

        found = [
            self._found(_run(discover(UPSTREAM, known=known), here)[0]).server.issuer
            for known, here in (((), web), ((ISSUER,), web), ((), broken))
        ]

        self.assertEqual(["https://one.example", ISSUER, ISSUER], found)

    def test_configured_issuer(self) -> None:
        """The user's issuer is used; if the resource says otherwise, that is an error and not a choice."""
        agreed = _run(discover(UPSTREAM, issuer=ISSUER), {_SERVER: server_document()})
        moved = _run(discover(UPSTREAM, issuer=ISSUER), {_BESIDE: _resource("https://new.example")})

        self.assertEqual(ISSUER, self._found(agreed[0]).server.issuer)
        self.assertIn("credentials made for one are not shown to another", str(moved[0]))

    def test_legacy(self) -> None:
        """No metadata of the resource: the origin is asked, and if it says nothing its usual paths are assumed."""
        said = _run(discover(UPSTREAM), {_LEGACY: server_document("https://mcp.example.com")})
        silent = _run(discover(UPSTREAM), {})
        page = _run(discover(UPSTREAM), {_LEGACY: b"<html>"})

        self.assertEqual("https://mcp.example.com/token", self._found(said[0]).server.token_endpoint)
        self.assertEqual([_BESIDE, _ROOT, _LEGACY], said[1])
        self.assertEqual(self._found(silent[0]), page[0])
        self.assertEqual(
            ("https://mcp.example.com/authorize", True, UPSTREAM),
            (
                self._found(silent[0]).server.authorization_endpoint,
                self._found(silent[0]).server.legacy,
                self._found(silent[0]).resource,
            ),
        )

    def test_no_servers(self) -> None:
        """A resource that names no authorization server is its own, as in 2025-03-26."""
        result, asked = _run(discover(UPSTREAM), {_BESIDE: document(resource=UPSTREAM)})

        self.assertTrue(self._found(result).server.legacy)
        self.assertEqual([_BESIDE, _LEGACY], asked)

    def test_later(self) -> None:
        """Trouble that may pass is not mistaken for an answer."""
        for trouble in (Fetched(None, text="no answer\n"), Fetched(500), Fetched(429)):
            webs: list[dict[str, Fetched | bytes]] = [
                {_BESIDE: trouble},
                {_LEGACY: trouble},
                {_BESIDE: _resource(ISSUER), _SERVER: trouble},
            ]
            for web in webs:
                result, _ = _run(discover(UPSTREAM), web)
                self.assertTrue(str(result).startswith("later: "), result)
                self.assertNotIn("\n", str(result))

    def test_trouble_is_overcome(self) -> None:
        """A server whose first place is broken may still have a second."""
        result, _ = _run(
            discover(UPSTREAM), {_BESIDE: _resource(ISSUER), _SERVER: Fetched(500), _OPENID: server_document()}
        )

        self.assertEqual(ISSUER, self._found(result).server.issuer)

    def test_untrusted_place(self) -> None:
        """A challenge that points elsewhere than to a public https place is not followed."""
        for place in ("http://169.254.169.254/latest", "file:///etc/passwd", "https://x@y/", "http://127.0.0.1:1/"):
            result, asked = _run(discover(UPSTREAM, BearerChallenge(place)), {})
            self.assertEqual([], asked)
            self.assertIn("cannot be trusted", str(result))

    def test_guarded(self) -> None:
        """A place that must not be asked ends it, with the text that says what the user can do."""
        no = Fetched(None, text="configure this or that", refused=True)
        webs: list[dict[str, Fetched | bytes]] = [
            {_BESIDE: no},
            {_LEGACY: no},
            {_BESIDE: _resource(ISSUER), _SERVER: no},
        ]

        self.assertEqual(["configure this or that"] * 3, [_run(discover(UPSTREAM), web)[0] for web in webs])

    def test_plain_upstream(self) -> None:
        """An upstream without TLS and without metadata is not asked for tokens in the clear."""
        result, asked = _run(discover("http://mcp.lan/mcp"), {})

        self.assertEqual(2, len(asked))
        self.assertIn("is not https", str(result))

    def test_no_metadata(self) -> None:
        """A named server without metadata is of no use."""
        result, asked = _run(discover(UPSTREAM), {_BESIDE: _resource(f"{ISSUER}/t1")})

        self.assertEqual(f"the authorization server {ISSUER}/t1 publishes no metadata", result)
        self.assertEqual(4, len(asked))
