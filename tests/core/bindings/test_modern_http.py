"""
Tests for L{mcpbridge.core.bindings.modern_http}.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.http import HTTPLimits
from mcpbridge.core.bindings.modern_http import ModernHTTP, Spoken, cancelled_by, is_standing
from mcpbridge.core.bindings.streamable_http import StreamableHTTP
from mcpbridge.core.jsonrpc import Notification, Request, Result, value

VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
META = {
    VERSION_KEY: "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {"x": {}},
    "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "1"},
    "progressToken": 5,
}


def modern(method: str, request_id: int = 7, **params: Any) -> Request:
    """A request of the stateless era."""
    return Request(request_id, method, value({**params, "_meta": META}))


def rules(**headers: str) -> ModernHTTP:
    """The era at an endpoint."""
    return ModernHTTP(StreamableHTTP.make("https://h/mcp", headers, HTTPLimits(), lambda: 0.0))


def headers_of(message: Request, at: ModernHTTP | None = None) -> dict[str, str]:
    """What is sent along with a message, without what every request has."""
    at = at or rules()
    spoken = at.spoken(message)
    assert spoken is not None
    request = at.post(message, spoken, at.param_fields(spoken))
    found = {name.decode(): text.decode() for name, text in (*request.headers, *request.more)}
    assert found.pop("Accept") == "application/json, text/event-stream"
    assert found.pop("Content-Type") == "application/json"
    assert found.pop("MCP-Protocol-Version") == "2026-07-28"
    found.pop("User-Agent", None)
    return found


class EraTests(SynchronousTestCase):
    """By which rules a message goes."""

    def test_named(self) -> None:
        """
        A revision from 2026-07-28 on is of this era; an older one, or none, or nonsense is not.
        """
        table: list[tuple[Any, str | None]] = [
            ({"_meta": {VERSION_KEY: "2026-07-28"}}, "2026-07-28"),
            ({"_meta": {VERSION_KEY: "2027-01-01"}}, "2027-01-01"),
            ({"_meta": {VERSION_KEY: "2025-11-25"}}, None),
            ({"_meta": {VERSION_KEY: "latest"}}, None),
            ({"_meta": {VERSION_KEY: "2026-07-28\r\nX: y"}}, None),
            ({"_meta": {VERSION_KEY: 2026}}, None),
            ({"_meta": {}}, None),
            ({"_meta": 1}, None),
            ({}, None),
        ]

        for params, version in table:
            spoken = rules().spoken(Request(1, "m", value(params)))
            self.assertEqual(version, None if spoken is None else spoken.version, params)
        self.assertIsNone(rules().spoken(Request(1, "m")))

    def test_notifications(self) -> None:
        """
        Notifications that name no revision are of the era of the last request; sessions win once there is one.
        """
        at = rules()
        notice = Notification("notifications/own")

        before = at.spoken(notice)
        at.spoken(modern("server/discover"))
        during = at.spoken(notice)
        at.spoken(Request(2, "initialize", Raw(b"{}")))
        after = at.spoken(notice)
        at.spoken(modern("server/discover"))
        at.endpoint.version = "2025-11-25"
        session = at.spoken(notice)

        self.assertEqual(
            [None, Spoken("2026-07-28", "notifications/own"), None, None], [before, during, after, session]
        )

    def test_own_revision(self) -> None:
        """
        A notification that names one is believed.
        """
        spoken = rules().spoken(Notification("n", value({"_meta": {VERSION_KEY: "2026-07-28"}})))

        assert spoken is not None
        self.assertEqual(("2026-07-28", "n"), (spoken.version, spoken.method))

    def test_answers(self) -> None:
        """
        Answers belong to sessions.
        """
        at = rules()
        at.spoken(modern("server/discover"))

        self.assertIsNone(at.spoken(Result(1, Raw(b"{}"))))

    def test_envelope(self) -> None:
        """
        A request of ours says of the client what the client's own says, and no more.
        """
        spoken = Spoken.by(modern("tools/call"))

        assert spoken is not None
        order = [VERSION_KEY, "io.modelcontextprotocol/clientInfo", "io.modelcontextprotocol/clientCapabilities"]
        self.assertEqual(value({name: META[name] for name in order}), spoken.envelope())


class HeaderTests(SynchronousTestCase):
    """What a message says twice."""

    def test_names(self) -> None:
        """
        The method always; the name where there is one.
        """
        table: list[tuple[str, dict[str, Any], dict[str, str]]] = [
            ("tools/call", {"name": "add"}, {"Mcp-Name": "add"}),
            ("prompts/get", {"name": "p"}, {"Mcp-Name": "p"}),
            ("resources/read", {"uri": "file:///a b"}, {"Mcp-Name": "file:///a b"}),
            ("tasks/get", {"taskId": "t"}, {"Mcp-Name": "t"}),
            ("tasks/update", {"taskId": "t"}, {"Mcp-Name": "t"}),
            ("tasks/cancel", {"taskId": "t"}, {"Mcp-Name": "t"}),
            ("tools/list", {"name": "x"}, {}),
            ("tools/call", {}, {}),
            ("tools/call", {"name": 5}, {}),
            ("tools/call", {"name": "\u00e9"}, {"Mcp-Name": "=?base64?w6k=?="}),
            ("tools/call", {"name": "=?base64?w6k=?="}, {"Mcp-Name": "=?base64?PT9iYXNlNjQ/dzZrPT89?="}),
            ("resources/read", {"uri": "a\nX: y"}, {"Mcp-Name": "=?base64?YQpYOiB5?="}),
        ]

        for method, params, expected in table:
            self.assertEqual({"Mcp-Method": method, **expected}, headers_of(modern(method, **params)))

    def test_long_names(self) -> None:
        """
        A name that hardly comes twice is no part of what is the same for many requests.
        """
        at = rules()
        message = modern("resources/read", uri="x" * 101)
        spoken = at.spoken(message)
        assert spoken is not None

        self.assertEqual(((b"Mcp-Name", b"x" * 101),), at.post(message, spoken).more)

    def test_odd_method(self) -> None:
        """
        A method that no header can carry breaks none.
        """
        self.assertEqual({"Mcp-Method": "=?base64?YQ0KWDogeQ==?="}, headers_of(modern("a\r\nX: y")))

    def test_parameters(self) -> None:
        """
        Arguments that the tool marks; they are no part of what is the same for many requests.
        """
        at = rules()
        schema = {"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
        at.marks.learn(value({"tools": [{"name": "t", "inputSchema": schema}]}))
        message = modern("tools/call", name="t", arguments={"region": "eu"})
        spoken = at.spoken(message)
        assert spoken is not None

        request = at.post(message, spoken, at.param_fields(spoken))

        self.assertEqual(((b"Mcp-Param-Region", b"eu"),), request.more)
        self.assertEqual((), at.param_fields(Spoken("2026-07-28", "prompts/get", spoken.params)))

    def test_configured(self) -> None:
        """
        What is configured goes along, but not in place of what we have to say; no session does.
        """
        at = rules(
            Authorization="Bearer x", **{"mcp-method": "a", "Mcp-Name": "b", "Mcp-Param-X": "c", "Mcp-Session-Id": "d"}
        )
        at.endpoint.session_id = "s1"

        self.assertEqual(
            {"Authorization": "Bearer x", "Mcp-Method": "tools/list"}, headers_of(modern("tools/list"), at)
        )


class SurveyTests(SynchronousTestCase):
    """When a call has to wait."""

    def test_wants_survey(self) -> None:
        """
        Only a call with arguments, and only until a list was seen.
        """
        at = rules()
        spoken = [
            at.spoken(message)
            for message in (
                modern("tools/call", name="t", arguments={"a": 1}),
                modern("tools/call", name="t", arguments={}),
                modern("tools/call", name="t"),
                modern("tools/call", arguments={"a": 1}),
                modern("prompts/get", name="t", arguments={"a": 1}),
            )
        ]

        before = [each is not None and at.wants_survey(each) for each in spoken]
        at.marks.known = True
        after = [each is not None and at.wants_survey(each) for each in spoken]

        self.assertEqual([True, False, False, False, False], before)
        self.assertEqual([False] * 5, after)


class PlainTests(SynchronousTestCase):
    """What is seen on a message alone."""

    def test_standing(self) -> None:
        """
        Subscriptions stay open.
        """
        self.assertEqual(
            [True, False], [is_standing(Request(1, method)) for method in ("subscriptions/listen", "tools/call")]
        )

    def test_cancelled_by(self) -> None:
        """
        The typed id, where there is one.
        """
        for params, expected in [
            ({"requestId": 5}, 5),
            ({"requestId": "5"}, "5"),
            ({"requestId": 1.5}, None),
            ({}, None),
        ]:
            self.assertEqual(expected, cancelled_by(Notification("notifications/cancelled", value(params))))
        for message in (
            Notification("notifications/cancelled"),
            Notification("notifications/cancelled", Raw(b"[]")),
            Notification("notifications/progress", value({"requestId": 5})),
            Request(1, "notifications/cancelled", value({"requestId": 5})),
            Result(5, Raw(b"{}")),
        ):
            self.assertIsNone(cancelled_by(message))
