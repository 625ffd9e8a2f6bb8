"""
Tests for L{mcpbridge.core.bindings.http}.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.http import (
    HTTPRequest,
    ResponseHead,
    excerpt,
    header_fields,
    moved_for_good,
    origin,
    redirect_target,
    resolve,
    retry_after,
    secrets_of,
    shown,
    status_loss,
    visible_ascii,
)
from mcpbridge.core.errors import ConfigurationError, Fate, Loss, Reason


class HeaderTests(SynchronousTestCase):
    """Configured headers."""

    def test_kept_and_left_out(self) -> None:
        """
        They go out as configured, but for those that are ours to decide; a User-Agent is added.
        """
        configured = {"Authorization": "Bearer x", "content-type": "text/plain", "Mcp-Session-Id": "s", "X-A": " b "}

        fields = header_fields(configured)

        self.assertEqual(
            ((b"Authorization", b"Bearer x"), (b"X-A", b"b"), (b"User-Agent", b"mcpbridge")),
            fields,
        )

    def test_mirrored(self) -> None:
        """
        What repeats the message is the message's to say (2026-07-28).
        """
        configured = {"Mcp-Method": "a", "mcp-name": "b", "MCP-Protocol-Version": "c", "mcp-Param-Region": "d"}

        self.assertEqual(((b"User-Agent", b"mcpbridge"),), header_fields(configured))

    def test_own_user_agent(self) -> None:
        """
        Theirs wins over ours.
        """
        self.assertEqual(((b"user-agent", b"me"),), header_fields({"user-agent": "me"}))

    def test_refused(self) -> None:
        """
        What could smuggle a header is refused, without showing the value.
        """
        for name, text in [("X\r\nY", "a"), ("", "a"), ("X Y", "a"), ("X", "a\r\ns3cret: 1"), ("X", "\0s3cret")]:
            error = self.assertRaises(ConfigurationError, header_fields, {name: text})
            self.assertNotIn("s3cret", str(error))

    def test_not_in_repr(self) -> None:
        """
        A request does not show its headers, its URL or its body.
        """
        request = HTTPRequest("POST", "http://h/s3cret", ((b"A", b"s3cret"),), b"s3cret")

        self.assertEqual("HTTPRequest(method='POST')", repr(request))

    def test_visible_ascii(self) -> None:
        """
        Tokens of ours have visible ASCII only (Streamable HTTP, Session Management, 1).
        """
        found = [visible_ascii(text, 5) for text in ("abc", "!~", "", "a b", "a\n", "\x7f", "é", "abcdef")]

        self.assertEqual([True, True, False, False, False, False, False, False], found)


class URLTests(SynchronousTestCase):
    """Origins and references."""

    def test_origin(self) -> None:
        """
        Default ports count, letter case does not.
        """
        self.assertEqual(("https", "host", 443), origin("https://HOST/x"))
        self.assertEqual(origin("http://h"), origin("http://h:80/y?z"))
        self.assertEqual(("http", "::1", 8080), origin("http://[::1]:8080/"))

    def test_no_origin(self) -> None:
        """
        What is no plain http or https URL has none.
        """
        for url in (
            "ftp://h/",
            "/x",
            "http://",
            "http://u@h/",
            "http://h/a b",
            "http://h:99999/",
            "http://h/\n",
            "x" * 9000,
        ):
            self.assertRaises(ValueError, origin, url)

    def test_resolve(self) -> None:
        """
        References stay on the origin, or are none.
        """
        base = "https://h/a/sse?key=1"
        found = {
            reference: resolve(base, reference)
            for reference in (
                "/m?s=1",
                "m",
                "?s=2",
                "https://h:443/m",
                "http://h/m",
                "https://h:444/m",
                "//evil/m",
                "https://h@evil/m",
                "https://u@h/m",
                "/m\r\nX: y",
                "javascript:alert(1)",
                "http://[/",
                "/ü",
            )
        }

        self.assertEqual(
            {
                "/m?s=1": "https://h/m?s=1",
                "m": "https://h/a/m",
                "?s=2": "https://h/a/sse?s=2",
                "https://h:443/m": "https://h:443/m",
                "http://h/m": None,
                "https://h:444/m": None,
                "//evil/m": None,
                "https://h@evil/m": None,
                "https://u@h/m": None,
                "/m\r\nX: y": None,
                "javascript:alert(1)": None,
                "http://[/": None,
                "/ü": None,
            },
            found,
        )

    def test_shown(self) -> None:
        """
        Only the origin is shown.
        """
        self.assertEqual("https://h:1", shown("https://h:1/key?token=x#y"))
        for url in ("https://user:pw@h/", "/m\x1b", "http://[/"):
            self.assertEqual("something that is no URL", shown(url))

    def test_secrets(self) -> None:
        """
        Long segments and the values of a query may be keys.
        """
        found = secrets_of("https://h/mcp/s/abcdefghijklmnopq/x?key=12345678&n=1")

        self.assertEqual(["abcdefghijklmnopq", "12345678"], found)

    def test_redirect_target(self) -> None:
        """
        Only 307 and 308, only on the same origin.
        """

        def target(status: int, location: str | None) -> str | None:
            fields = {} if location is None else {"location": location}
            return redirect_target(ResponseHead(status, fields), "http://h/mcp")

        self.assertEqual("http://h/mcp/", target(307, "/mcp/"))
        self.assertEqual("http://h/x", target(308, "http://h/x"))
        self.assertEqual([None] * 3, [target(status, "/mcp/") for status in (301, 302, 303)])
        self.assertEqual([None] * 3, [target(307, location) for location in ("https://h/mcp", "", None)])

    def test_moved_for_good(self) -> None:
        """
        308, and a slash more or less.
        """
        moved = [
            moved_for_good(ResponseHead(status), "http://h/a", target)
            for status, target in ((308, "http://h/b"), (307, "http://h/a/"), (307, "http://h/b"))
        ]

        self.assertEqual([True, True, False], moved)

    @given(st.text())
    @settings(max_examples=200, derandomize=True, deadline=None)
    def test_any_reference(self, reference: str) -> None:
        """
        Whatever comes, the result is on the origin or there is none.
        """
        found = resolve("https://h/a", reference)

        if found is not None:
            self.assertEqual(("https", "h", 443), origin(found))


class StatusTests(SynchronousTestCase):
    """What statuses mean."""

    def test_fates(self) -> None:
        """
        The table of failures.
        """
        fates = {
            status: (loss.fate, loss.reason)
            for status in (400, 401, 403, 404, 405, 408, 410, 413, 429, 500, 501, 502, 503, 504, 599)
            for loss in [status_loss(ResponseHead(status), authorized=False)]
        }

        self.assertEqual(
            {
                400: (Fate.FAILED, Reason.MALFORMED),
                401: (Fate.REJECTED, Reason.AUTH_REQUIRED),
                403: (Fate.FAILED, Reason.AUTH_FAILED),
                404: (Fate.FAILED, Reason.UPSTREAM_UNREACHABLE),
                405: (Fate.FAILED, Reason.UPSTREAM_UNREACHABLE),
                408: (Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN),
                410: (Fate.FAILED, Reason.UPSTREAM_UNREACHABLE),
                413: (Fate.FAILED, Reason.MALFORMED),
                429: (Fate.REJECTED, Reason.OVERLOADED),
                500: (Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN),
                501: (Fate.FAILED, Reason.MALFORMED),
                502: (Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN),
                503: (Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN),
                504: (Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN),
                599: (Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN),
            },
            fates,
        )

    def test_retry_after(self) -> None:
        """
        A server that names a time turned the request away; one that names a long time is not worth waiting for.
        """

        def busy(seconds: str) -> tuple[Fate, float | None]:
            loss = status_loss(ResponseHead(503, {"retry-after": seconds}), authorized=False)
            return loss.fate, loss.retry_after

        self.assertEqual((Fate.REJECTED, 5.0), busy("5"))
        self.assertEqual((Fate.FAILED, None), busy("31"))
        self.assertEqual((Fate.UNKNOWN, None), busy("soon"))

    def test_authorization_advice(self) -> None:
        """
        A 401 says what to configure, or that what is configured is no good.
        """
        texts = [status_loss(ResponseHead(401), authorized=authorized).text for authorized in (False, True)]

        self.assertIn('configure an "Authorization" header', texts[0])
        self.assertIn("does not accept the configured Authorization header", texts[1])

    def test_insufficient_scope(self) -> None:
        """
        A 403 may be about the scope.
        """
        head = ResponseHead(403, {"www-authenticate": 'Bearer error="insufficient_scope", scope="a"'})

        loss = status_loss(head, authorized=True)

        text = "the server answered HTTP 403: the token lacks a scope that this needs"
        self.assertEqual(Loss(Fate.FAILED, Reason.INSUFFICIENT_SCOPE, text), loss)

    def test_dates(self) -> None:
        """
        A date counts from the server's own date; without that, or broken, it is none.
        """
        date = "Sat, 28 Feb 2026 23:59:50 GMT"
        found = [
            retry_after(ResponseHead(503, fields))
            for fields in (
                {"retry-after": "Sun, 01 Mar 2026 00:00:00 GMT", "date": date},
                {"retry-after": "Sat, 28 Feb 2026 23:59:00 GMT", "date": date},
                {"retry-after": "Sun, 01 Mar 2026 00:00:00 GMT"},
                {"retry-after": "1 Mar 2026", "date": date},
                {"retry-after": "9" * 5000},
                {},
            )
        ]

        self.assertEqual([10.0, 0.0, None, None, 999999999.0, None], found)

    @given(st.integers(0, 200 * 10**9), st.integers(0, 10**8))
    @settings(max_examples=200, derandomize=True, deadline=None)
    def test_any_date(self, moment: int, seconds: int) -> None:
        """
        The calendar is that of the standard library.
        """
        date = datetime.fromtimestamp(moment, UTC)
        fields = {
            "date": format_datetime(date, usegmt=True),
            "retry-after": format_datetime(date + timedelta(seconds=seconds), usegmt=True),
        }

        self.assertEqual(float(seconds), retry_after(ResponseHead(503, fields)))


class TextTests(SynchronousTestCase):
    """Foreign text."""

    def test_excerpt(self) -> None:
        """
        One line, printable, not too long, without secrets.
        """
        self.assertEqual("a b \ufffd[31m\ufffd *** c", excerpt("a\n b \x1b[31m\u202e token c", ["token"]))
        self.assertEqual(200, len(excerpt("x" * 1000)))

    def test_media_type(self) -> None:
        """
        Parameters and letter case do not count.
        """
        types = [
            ResponseHead(200, fields).media_type
            for fields in ({"content-type": "Application/JSON; charset=utf-8"}, {"content-type": ""}, {})
        ]

        self.assertEqual(["application/json", "", ""], types)
