"""
Tests for L{mcpbridge.core.bindings.http_guards}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.http_guards import Accepted, accepted, check_body_type, guard


class PlaceTests(SynchronousTestCase):
    """Whether a request was meant for us."""

    def test_hosts(self) -> None:
        """Only names of this machine with our port, exactly, and names that were given."""
        checks = guard("127.0.0.1", 8808, ("mcp.example.com", "Other:99"), None)
        good = ["127.0.0.1:8808", "localhost:8808", "LOCALHOST:8808", "[::1]:8808", "mcp.example.com", "other:99"]
        bad = [
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.2:8808",
            "localhost.:8808",
            "localhost:8808.evil.example",
            "evil.example:8808",
            "evil.example",
            "mcp.example.com:8808",
            "",
        ]

        seen = {host: checks.check_place({"host": (host,)}) for host in good + bad}

        self.assertEqual(good, [host for host, refused in seen.items() if refused is None])
        self.assertEqual({403}, {refused.status for refused in seen.values() if refused is not None})

    def test_one_host(self) -> None:
        """There is exactly one (RFC 9112, 3.2)."""
        checks = guard("127.0.0.1", 8808, (), None)

        refused = [checks.check_place({}), checks.check_place({"host": ("localhost:8808", "localhost:8808")})]

        self.assertEqual([400, 400], [each.status for each in refused if each is not None])

    def test_usual_port(self) -> None:
        """Port 80 is left out by clients."""
        checks = guard("127.0.0.1", 80, (), None)

        self.assertIsNone(checks.check_place({"host": ("localhost",), "origin": ("http://localhost",)}))

    def test_origins(self) -> None:
        """Only pages of our own; and clients that are no browsers, which have none."""
        checks = guard("127.0.0.1", 8808, ("mcp.example.com",), None)
        good = ["http://localhost:8808", "http://127.0.0.1:8808", "http://[::1]:8808", "https://mcp.example.com"]
        bad = ["null", "", "http://localhost", "https://localhost:8808", "http://evil.example", "http://localhost:1"]

        def check(*origins: str) -> bool:
            return checks.check_place({"host": ("localhost:8808",), "origin": origins}) is None

        self.assertTrue(check())
        self.assertEqual(good, [origin for origin in good + bad if check(origin)])
        self.assertFalse(check(good[0], bad[0]))


class CredentialsTests(SynchronousTestCase):
    """Whether the client has shown the token."""

    def test_token(self) -> None:
        """Only the token, as a Bearer token, once."""
        checks = guard("127.0.0.1", 1, (), lambda shown: shown == "secret")
        table: dict[tuple[str, ...], int | None] = {
            ("Bearer secret",): None,
            ("bearer  secret",): None,
            (): 401,
            ("",): 401,
            ("secret",): 401,
            ("Bearer",): 401,
            ("Bearer wrong",): 401,
            ("Bearer secret x",): 401,
            ("Basic secret",): 401,
            ("Bearer secret", "Bearer secret"): 401,
        }

        seen = {shown: checks.check_credentials({"authorization": shown}) for shown in table}

        self.assertEqual(table, {shown: None if each is None else each.status for shown, each in seen.items()})
        absent, wrong = seen[()], seen[("Bearer wrong",)]
        assert absent is not None and wrong is not None
        self.assertEqual(((b"WWW-Authenticate", b'Bearer realm="mcpbridge"'),), absent.fields)
        self.assertIn(b'error="invalid_token"', wrong.fields[0][1])

    def test_nobody_is_asked(self) -> None:
        """Unless tokens are wanted."""
        self.assertIsNone(guard("127.0.0.1", 1, (), None).check_credentials({}))


class FormTests(SynchronousTestCase):
    """Media types."""

    def test_body(self) -> None:
        """JSON in UTF-8, plain."""
        good = [
            "application/json",
            "Application/JSON; charset=utf-8",
            'application/json;charset="UTF-8"',
            "application/json;x=y",
        ]
        bad = [
            "",
            "text/plain",
            "application/json; charset=latin-1",
            "application/jsonp",
            "application/json, text/plain",
        ]

        self.assertEqual(good, [each for each in good + bad if check_body_type({"content-type": (each,)}) is None])
        twice = check_body_type({"content-type": ("application/json", "application/json")})
        coded = check_body_type({"content-type": ("application/json",), "content-encoding": ("gzip",)})
        self.assertEqual([415, 415], [each.status for each in (twice, coded) if each is not None])

    def test_accept(self) -> None:
        """Both if nothing is said; else what is named, by itself or by a star, and not refused."""
        both, json, events, neither = (
            Accepted(*pair) for pair in ((True, True), (True, False), (False, True), (False, False))
        )
        table = {
            (): both,
            ("application/json, text/event-stream",): both,
            ("application/json", "text/event-stream"): both,
            ("*/*",): both,
            ("application/*;q=0.5, text/*",): both,
            ("application/json",): json,
            ("application/json, text/event-stream;q=0",): json,
            ("TEXT/EVENT-STREAM",): events,
            ("text/html",): neither,
            ("*/*;q=0.000",): neither,
        }

        self.assertEqual(table, {values: accepted({"accept": values} if values else {}) for values in table})
