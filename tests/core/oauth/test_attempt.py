"""
Tests of L{mcpbridge.core.oauth.attempt}, with oauthlib as the oracle for the URL.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from oauthlib.oauth2 import WebApplicationClient
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.oauth.attempt import LIFETIME, Attempt, code_challenge, read_response, state_of
from mcpbridge.core.oauth.errors import LoginRefused, MetadataRefused
from tests.core.oauth.facts import ATTEMPT, ISSUER, NOW, REDIRECT, SERVER

_strict = attrs.evolve(ATTEMPT, server=attrs.evolve(SERVER, names_itself=True))


def _redirect(**params: str) -> str:
    return f"{REDIRECT}?{urlencode(params)}"


class URLTests(SynchronousTestCase):
    """What the human opens."""

    def test_oracle(self) -> None:
        """The same members with the same values as oauthlib has, in a URL of the same place."""
        oracle = WebApplicationClient("client-1").prepare_request_uri(
            f"{ISSUER}/authorize",
            redirect_uri=REDIRECT,
            scope=["read", "write"],
            state="the-state",
            code_challenge=code_challenge(ATTEMPT.verifier),
            code_challenge_method="S256",
            resource="https://mcp.example.com/tenant",
        )

        self.assertEqual(urlsplit(oracle)[:3], urlsplit(ATTEMPT.url)[:3])
        self.assertEqual(sorted(parse_qsl(urlsplit(oracle).query)), sorted(parse_qsl(urlsplit(ATTEMPT.url).query)))

    def test_challenge_vector(self) -> None:
        """RFC 7636, appendix B."""
        self.assertEqual(
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", code_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
        )

    def test_endpoint_query(self) -> None:
        """What the endpoint has in its query stays, unless it wants to speak for us."""
        server = attrs.evolve(SERVER, authorization_endpoint=f"{ISSUER}/a?tenant=7&state=evil&redirect_uri=evil")

        said = parse_qsl(urlsplit(attrs.evolve(ATTEMPT, server=server).url).query)

        self.assertEqual([("tenant", "7")], [pair for pair in said if pair[0] == "tenant"])
        self.assertEqual([("state", "the-state")], [pair for pair in said if pair[0] == "state"])
        self.assertEqual([("redirect_uri", REDIRECT)], [pair for pair in said if pair[0] == "redirect_uri"])

    def test_leaves_out(self) -> None:
        """No scope and no resource: not even empty ones."""
        said = dict(parse_qsl(urlsplit(attrs.evolve(ATTEMPT, scopes=None, resource=None).url).query, True))

        self.assertEqual(set(), said.keys() & {"scope", "resource", "prompt"})

    def test_offline(self) -> None:
        """Asking for a refresh token needs the human's consent."""
        said = dict(parse_qsl(urlsplit(attrs.evolve(ATTEMPT, scopes=("offline_access",)).url).query))

        self.assertEqual("consent", said["prompt"])

    def test_no_endpoint(self) -> None:
        """A server for machines only has no such URL."""
        attempt = attrs.evolve(ATTEMPT, server=attrs.evolve(SERVER, authorization_endpoint=None))

        self.assertRaises(MetadataRefused, lambda: attempt.url)

    def test_secrets_are_not_shown(self) -> None:
        """No repr has the verifier or the state."""
        self.assertNotIn(ATTEMPT.verifier, repr(ATTEMPT))
        self.assertNotIn("the-state", repr(ATTEMPT))


class ResponseTests(SynchronousTestCase):
    """What comes back."""

    def _refused(self, attempt: Attempt, response: str, now: float = NOW) -> tuple[str, bool]:
        error = self.assertRaises(LoginRefused, read_response, attempt, response, now)
        return str(error), error.final

    def test_forms(self) -> None:
        """Everything a human may paste."""
        for response in (
            _redirect(code="c0de", state="the-state"),
            f"  {_redirect(state='the-state', code='c0de', session_state='x')}\n",
            "code=c0de&state=the-state",
            "?code=c0de&state=the-state",
            "https://other.example/elsewhere?code=c0de&state=the-state",
            "c0de#the-state",
            "c0de",
        ):
            self.assertEqual("c0de", read_response(ATTEMPT, response, NOW))

    def test_issuer_table(self) -> None:
        """MCP authorization, authorization response validation: all four rows and the ways to be wrong."""
        right = _redirect(code="c", state="the-state", iss=ISSUER)
        silent = _redirect(code="c", state="the-state")

        self.assertEqual("c", read_response(_strict, right, NOW))
        self.assertEqual("c", read_response(ATTEMPT, right, NOW))
        self.assertEqual("c", read_response(ATTEMPT, silent, NOW))
        for response in (silent, "c", "c#the-state"):
            self.assertIn("does not name the authorization server", self._refused(_strict, response)[0])
        for issuer in ("https://evil.example", f"{ISSUER}/", ISSUER.upper(), f"{ISSUER}:443", ""):
            for attempt in (ATTEMPT, _strict):
                text, final = self._refused(attempt, _redirect(code="c", state="the-state", iss=issuer))
                self.assertIn("another authorization server", text)
                self.assertTrue(final)

    def test_state(self) -> None:
        """Not ours: not used, and our attempt goes on."""
        for response in (
            _redirect(code="c", state="other"),
            _redirect(code="c"),
            _redirect(code="c", state=""),
            "c#other",
            _redirect(error="access_denied", state="other"),
        ):
            text, final = self._refused(ATTEMPT, response)
            self.assertIn("another login", text)
            self.assertFalse(final)

    def test_error(self) -> None:
        """The server's own words, but only if they are the server's."""
        said = {"error": "access_denied", "error_description": "No\x1b[2J", "state": "the-state"}

        self.assertEqual(
            ("the authorization server says: access_denied: No\\x1b[2J", True),
            self._refused(ATTEMPT, _redirect(**said)),
        )
        self.assertNotIn("denied", self._refused(ATTEMPT, _redirect(**said, iss="https://evil.example"))[0])

    def test_late(self) -> None:
        """Too late is too late; so is a clock that went back."""
        response = _redirect(code="c", state="the-state")

        self.assertEqual("c", read_response(ATTEMPT, response, NOW + LIFETIME - 1))
        for now in (NOW + LIFETIME, NOW - 1):
            self.assertEqual(("this login is too old; start it again", True), self._refused(ATTEMPT, response, now))

    def test_nonsense(self) -> None:
        """What is no answer is said to be none, and the human may try again."""
        for response in (
            "",
            "two words",
            "x" * 20_000,
            "https://[x/?code=c",
            "https://a.example/",
            f"{REDIRECT}?state=the-state",
            f"{REDIRECT}?state=the-state&code=",
            f"{REDIRECT}?state=the-state&code=a&code=b",
            f"{REDIRECT}?state=the-state&code=a&iss={ISSUER}&iss=x",
        ):
            self.assertFalse(self._refused(ATTEMPT, response)[1], response)

    def test_state_of(self) -> None:
        """By it an attempt is found."""
        self.assertEqual("the-state", state_of(_redirect(code="c", state="the-state")))
        for response in ("c0de", f"{REDIRECT}?state=a&state=b", "https://[x/?state=1"):
            self.assertEqual(None, state_of(response))

    @settings(max_examples=300, derandomize=True)
    @given(st.text(max_size=60) | st.text(max_size=40).map(lambda text: f"{REDIRECT}?state=the-state&{text}"))
    def test_anything(self, response: str) -> None:
        """A code that is fit for a form, or a refusal."""
        try:
            code = read_response(ATTEMPT, response, NOW)
        except LoginRefused:
            return
        self.assertTrue(code and code.isascii() and code.isprintable())
