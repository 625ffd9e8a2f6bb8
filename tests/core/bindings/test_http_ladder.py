"""
Tests for L{mcpbridge.core.bindings.http_ladder}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.http_guards import Accepted, Refusal
from mcpbridge.core.bindings.http_ladder import admit, answer_status, check_params, classify, tool_name
from mcpbridge.core.bindings.http_verdicts import (
    ModernCall,
    ModernNotice,
    Opening,
    SessionEnd,
    SessionPost,
    SessionStream,
    Verdict,
)
from mcpbridge.core.bindings.param_headers import ParamHeader
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Notification, Request, Result, value
from mcpbridge.core.negotiation import VERSIONS

MODERN = "2026-07-28"
VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
INFO = "io.modelcontextprotocol/clientInfo"
SESSION = "0123456789abcdef0123456789abcdef"
BOTH = Accepted(True, True)


def fields(**more: str | tuple[str, ...] | None) -> dict[str, tuple[str, ...]]:
    """Those of a good POST, and these; L{None} takes one away."""
    named: dict[str, Any] = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        **{name.replace("_", "-"): text for name, text in more.items()},
    }
    return {name: text if isinstance(text, tuple) else (text,) for name, text in named.items() if text is not None}


def post(message: object, **more: str | tuple[str, ...] | None) -> Verdict:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return classify("POST", fields(**more), body)


def session_post(message: object, **more: str | tuple[str, ...] | None) -> Verdict:
    return post(message, mcp_session_id=SESSION, **more)


def modern(
    method: str = "tools/list",
    params: Mapping[str, object] | None = None,
    meta: Mapping[str, object] | None = None,
    **more: str | tuple[str, ...] | None,
) -> Verdict:
    """A good request of the stateless era, but for what is given; meta stands in for all of C{_meta}."""
    full = {**(params or {}), "_meta": {VERSION: MODERN, CAPABILITIES: {}} if meta is None else dict(meta)}
    given: dict[str, Any] = {"mcp_protocol_version": MODERN, "mcp_method": method, **more}
    return post({"jsonrpc": "2.0", "id": 7, "method": method, "params": full}, **given)


def outcome(verdict: Verdict) -> tuple[int, int, object] | str:
    """Status, code and id of a refusal; the kind of anything else."""
    if isinstance(verdict, Refusal):
        return verdict.status, verdict.error.error.code, verdict.error.id
    return type(verdict).__name__


def call(request_id: int = 7, method: str = "tools/call") -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": {}}


class MethodTests(SynchronousTestCase):
    """Requests without a body."""

    def test_get_and_delete(self) -> None:
        """They belong to sessions; who has none is told why in the words of its era."""
        table: dict[tuple[str, tuple[tuple[str, str], ...]], object] = {
            ("GET", ()): (405, -32600, None),
            ("DELETE", ()): (405, -32600, None),
            ("GET", (("mcp-protocol-version", MODERN),)): (405, -32600, None),
            ("GET", (("mcp-protocol-version", MODERN), ("mcp-session-id", SESSION))): (405, -32600, None),
            ("GET", (("mcp-protocol-version", "2025-06-18"),)): (400, -32600, None),
            ("GET", (("mcp-protocol-version", "1.0"), ("mcp-session-id", SESSION))): (400, -32600, None),
            ("GET", (("mcp-session-id", SESSION), ("accept", "application/json"))): (406, -32600, None),
            ("GET", (("mcp-session-id", SESSION),)): "SessionStream",
            ("DELETE", (("mcp-session-id", SESSION),)): "SessionEnd",
            ("PUT", (("mcp-session-id", SESSION),)): (405, -32600, None),
            ("OPTIONS", ()): (405, -32600, None),
            ("get", (("mcp-session-id", SESSION),)): (405, -32600, None),
        }

        seen = {
            (method, given): outcome(classify(method, {name: (text,) for name, text in given}, b""))
            for method, given in table
        }

        self.assertEqual(table, seen)

    def test_verdicts(self) -> None:
        """They say which session, and from where on."""
        given = {"mcp-session-id": (SESSION,), "last-event-id": ("r1-2",)}

        self.assertEqual(SessionStream(SESSION, "r1-2"), classify("GET", given, b""))
        self.assertEqual(SessionEnd(SESSION), classify("DELETE", given, b""))

    def test_allow(self) -> None:
        """405 says what is allowed (RFC 9110, 15.5.6)."""
        refused = [classify("PUT", {}, b""), classify("GET", {}, b"")]

        self.assertEqual(
            [((b"Allow", b"POST, GET, DELETE"),), ((b"Allow", b"POST"),)],
            [verdict.fields for verdict in refused if isinstance(verdict, Refusal)],
        )

    def test_strange_session_ids(self) -> None:
        """What cannot be an id of ours is one that is not known; two are none."""
        for strange in ("x" * 65, "a b", "", "\u00e9"):
            self.assertEqual(SessionEnd("?"), classify("DELETE", {"mcp-session-id": (strange,)}, b""))
        self.assertEqual((400, -32600, None), outcome(classify("DELETE", {"mcp-session-id": (SESSION, SESSION)}, b"")))


class BodyTests(SynchronousTestCase):
    """What is no message."""

    def test_form(self) -> None:
        """The media types are looked at before the body."""
        table = {
            "type": (post(b"}", content_type="text/plain"), (415, -32600, None)),
            "no type": (post(b"}", content_type=None), (415, -32600, None)),
            "coding": (post(call(), content_encoding="gzip"), (415, -32600, None)),
            "accept": (post(b"}", accept="text/html"), (406, -32600, None)),
        }

        self.assertEqual(
            {name: expected for name, (_, expected) in table.items()},
            {name: outcome(verdict) for name, (verdict, _) in table.items()},
        )

    def test_garbage(self) -> None:
        """Bytes that are no message get the error of JSON-RPC, with their id where it can be found."""
        table = {
            b"": (400, -32700, None),
            b"{": (400, -32700, None),
            b"nonsense": (400, -32700, None),
            b"[]": (400, -32600, None),
            b"1": (400, -32600, None),
            b'{"jsonrpc":"1.0","id":3,"method":"x"}': (400, -32600, 3),
            b'{"jsonrpc":"2.0","id":3,"method":"x","params":[]}': (400, -32602, 3),
            b'{"jsonrpc":"2.0","id":null,"method":"x"}': (400, -32600, None),
            b'{"jsonrpc":"2.0","id":3,"method":"\xff"}': (400, -32700, 3),
        }

        self.assertEqual(table, {body: outcome(post(body)) for body in table})

    @settings(derandomize=True, max_examples=200)
    @given(st.binary(max_size=200))
    def test_any_bytes(self, body: bytes) -> None:
        """Whatever is sent, there is a verdict."""
        classify("POST", fields(), body)

    @settings(derandomize=True, max_examples=200)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["jsonrpc", "id", "method", "params", "_meta", VERSION, CAPABILITIES, "result", "name"]
                    ),
                    inner | st.sampled_from(["2.0", MODERN, "initialize", "tools/call"]),
                    max_size=6,
                )
            ),
            max_leaves=12,
        ),
        st.sampled_from([None, MODERN, "2025-06-18", "x"]),
    )
    def test_any_json(self, found: object, version: str | None) -> None:
        """Whatever is said, there is a verdict."""
        post(found, mcp_protocol_version=version, mcp_session_id=SESSION)


class SessionEraTests(SynchronousTestCase):
    """What is said in the words of 2024-11-05 to 2025-11-25."""

    def test_opening(self) -> None:
        """initialize opens a session, whatever the headers say of versions and sessions."""
        message = {"jsonrpc": "2.0", "id": 0, "method": "initialize"}
        expected = Request(0, "initialize")

        self.assertEqual(Opening(expected, BOTH, None), post(message))
        self.assertEqual(Opening(expected, BOTH, None), post(message, mcp_protocol_version=MODERN))
        self.assertEqual(Opening(expected, BOTH, SESSION), session_post(message))

    def test_session(self) -> None:
        """All else belongs to a session."""
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        table: dict[str, tuple[object, Message]] = {
            "request": (call(), Request(7, "tools/call", Raw(b"{}"))),
            "notification": (note, Notification("notifications/initialized")),
            "result": ({"jsonrpc": "2.0", "id": 1, "result": {}}, Result(1, Raw(b"{}"))),
        }

        for message, expected in table.values():
            self.assertEqual(SessionPost(SESSION, (expected,), False, BOTH), session_post(message))
            self.assertEqual(400, outcome(post(message))[0])

    def test_versions(self) -> None:
        """The version header names a revision of this era, or is not there."""
        table: dict[str | tuple[str, ...] | None, object] = {
            None: "SessionPost",
            "2025-03-26": "SessionPost",
            "2025-06-18": "SessionPost",
            "2025-11-25": "SessionPost",
            "2024-11-05": "SessionPost",
            "2099-01-01": (400, -32600, 7),
            "": (400, -32600, 7),
            ("2025-06-18", "2025-06-18"): (400, -32600, 7),
        }

        self.assertEqual(
            table, {version: outcome(session_post(call(), mcp_protocol_version=version)) for version in table}
        )

    def test_batches(self) -> None:
        """Arrays are for one revision, and have no initialize and nothing of the other era in them."""
        batch = session_post([call(1), call(2), 3])
        assert isinstance(batch, SessionPost)
        self.assertEqual((True, 3), (batch.is_batch, len(batch.messages)))
        self.assertIsInstance(batch.messages[2], InvalidMessage)
        self.assertIsNone(admit(batch, "2025-03-26"))
        for version in (None, "2024-11-05", "2025-06-18", "2025-11-25"):
            refused = admit(batch, version)
            assert refused is not None
            self.assertEqual((400, -32600), (refused.status, refused.error.error.code))

        modern_call = {**call(), "params": {"_meta": {VERSION: MODERN}}}
        for array in ([call(0, "initialize")], [call(), modern_call]):
            self.assertEqual((400, -32600, None), outcome(session_post(array)))
        self.assertEqual((400, -32600, None), outcome(session_post([call()], mcp_protocol_version=MODERN)))

    def test_single_messages_are_admitted(self) -> None:
        """What is no array is for every revision."""
        post = session_post(call())
        assert isinstance(post, SessionPost)

        self.assertIsNone(admit(post, None))

    def test_broken_answer(self) -> None:
        """A broken answer goes on to whoever waits for it, if it comes in a session."""
        broken = {"jsonrpc": "2.0", "id": 4, "result": {}, "error": {}}

        verdict = session_post(broken)

        assert isinstance(verdict, SessionPost)
        self.assertIsInstance(verdict.messages[0], InvalidMessage)
        self.assertEqual((400, -32600, None), outcome(post(broken)))

    def test_accepted(self) -> None:
        """What the client can read is passed on."""
        verdict = session_post(call(), accept="application/json")

        assert isinstance(verdict, SessionPost)
        self.assertEqual(Accepted(True, False), verdict.accepted)


class StatelessEraTests(SynchronousTestCase):
    """What is said in the words of 2026-07-28."""

    def test_good(self) -> None:
        """A request by all the rules passes, with its client."""
        verdict = modern("tools/call", {"name": "echo"}, mcp_name="echo")

        assert isinstance(verdict, ModernCall)
        self.assertEqual(("tools/call", BOTH), (verdict.request.method, verdict.accepted))
        self.assertIsNone(verdict.client.info)

    def test_clients(self) -> None:
        """Clients are told apart by name and capabilities, and not by how these are written."""

        def client(info: object, capabilities: object) -> object:
            meta = {VERSION: MODERN, INFO: info, CAPABILITIES: capabilities}
            verdict = modern(meta=meta)
            assert isinstance(verdict, ModernCall)
            return verdict.client

        self.assertEqual(client({"name": "a"}, {"x": 1, "y": {}}), client({"name": "a"}, {"y": {}, "x": 1}))
        self.assertNotEqual(client({"name": "a"}, {"x": 1}), client({"name": "a"}, {"x": 2}))
        self.assertNotEqual(client({"name": "a"}, {}), client({"name": "b"}, {}))

    def test_refusals(self) -> None:
        """Each rule has its error, and the request's own id."""
        good = {VERSION: MODERN, CAPABILITIES: {}}
        table = {
            "no _meta": (modern(meta={}), (400, -32602, 7)),
            "no version": (modern(meta={CAPABILITIES: {}}), (400, -32602, 7)),
            "no capabilities": (modern(meta={VERSION: MODERN}), (400, -32602, 7)),
            "capabilities that are none": (modern(meta={VERSION: MODERN, CAPABILITIES: 1}), (400, -32602, 7)),
            "a name that is none": (modern(meta={**good, INFO: "x"}), (400, -32602, 7)),
            "no version header": (modern(mcp_protocol_version=None), (400, -32020, 7)),
            "another version header": (modern(mcp_protocol_version="2025-11-25"), (400, -32020, 7)),
            "two version headers": (modern(mcp_protocol_version=(MODERN, MODERN)), (400, -32020, 7)),
            "another version in the body": (modern(meta={**good, VERSION: "v999"}), (400, -32020, 7)),
            "a version that is no string": (modern(meta={**good, VERSION: 1}), (400, -32020, 7)),
            "a version that is not served": (
                modern(meta={**good, VERSION: "v999"}, mcp_protocol_version="v999"),
                (400, -32022, 7),
            ),
            "a version of the other era": (
                modern(meta={**good, VERSION: "2025-11-25"}, mcp_protocol_version="2025-11-25"),
                (400, -32022, 7),
            ),
            "no method header": (modern(mcp_method=None), (400, -32020, 7)),
            "another method header": (modern(mcp_method="TOOLS/LIST"), (400, -32020, 7)),
            "two method headers": (modern(mcp_method=("tools/list", "tools/list")), (400, -32020, 7)),
            "no name header": (modern("tools/call", {"name": "a"}), (400, -32020, 7)),
            "another name header": (modern("tools/call", {"name": "a"}, mcp_name="b"), (400, -32020, 7)),
            "two name headers": (modern("tools/call", {"name": "a"}, mcp_name=("a", "a")), (400, -32020, 7)),
            "broken name header": (modern("tools/call", {"name": "a"}, mcp_name="=?base64?YR==?="), (400, -32020, 7)),
            "a name header alone": (modern("tools/call", mcp_name="a"), (400, -32020, 7)),
            "no uri header": (modern("resources/read", {"uri": "a:b"}), (400, -32020, 7)),
            "no task header": (modern("tasks/get", {"taskId": "t"}), (400, -32020, 7)),
            "listen without a stream": (modern("subscriptions/listen", accept="application/json"), (406, -32600, 7)),
            "encoded name": (modern("prompts/get", {"name": "\u00e9"}, mcp_name="=?base64?w6k=?="), "ModernCall"),
            "no name at all": (modern("tools/call"), "ModernCall"),
            "a session id": (modern(mcp_session_id=SESSION), "ModernCall"),
        }

        self.assertEqual(
            {name: expected for name, (_, expected) in table.items()},
            {name: outcome(verdict) for name, (verdict, _) in table.items()},
        )

    def test_unsupported(self) -> None:
        """The client learns which versions there are, and which it has asked for."""
        verdict = modern(meta={VERSION: "v999", CAPABILITIES: {}}, mcp_protocol_version="v999")

        assert isinstance(verdict, Refusal) and verdict.error.error.data is not None
        self.assertEqual(
            {"supported": list(VERSIONS), "requested": "v999"}, json.loads(bytes(verdict.error.error.data))
        )

    def test_removed_methods(self) -> None:
        """What the era has not is not found, though the other era has it."""
        for method in ("initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"):
            self.assertEqual((404, -32601, 7), outcome(modern(method)))

    def test_notifications(self) -> None:
        """They need no headers but one of the two versions."""
        message = {"jsonrpc": "2.0", "method": "notifications/x"}
        with_meta = {**message, "params": {"_meta": {VERSION: MODERN, CAPABILITIES: {}}}}
        unknown = {**message, "params": {"_meta": {VERSION: "v999"}}}

        self.assertEqual(
            ModernNotice(Notification("notifications/x"), None), post(message, mcp_protocol_version=MODERN)
        )
        found = post(with_meta)
        assert isinstance(found, ModernNotice)
        self.assertIsNotNone(found.client)
        self.assertEqual((400, -32022, None), outcome(post(unknown)))

    def test_answers(self) -> None:
        """There is nothing to answer in this era."""
        answer = {"jsonrpc": "2.0", "id": 1, "result": {}}

        self.assertEqual((400, -32600, None), outcome(post(answer, mcp_protocol_version=MODERN)))

    def test_params(self) -> None:
        """Arguments that are repeated in headers are so, once that is known of the tool."""
        headers = (ParamHeader("Mcp-Param-Region", ("region",), "string"),)
        params = {"name": "t", "arguments": {"region": "eu"}}
        verdict = modern("tools/call", params, mcp_name="t")
        assert isinstance(verdict, ModernCall)

        self.assertEqual("t", tool_name(verdict))
        self.assertIsNone(check_params(verdict, (), {}))
        self.assertIsNone(check_params(verdict, headers, {"mcp-param-region": ("eu",)}))
        refused = check_params(verdict, headers, {"mcp-param-region": ("us",)})
        assert refused is not None
        self.assertEqual((400, -32020, 7), outcome(refused))

    def test_statuses(self) -> None:
        """An error that says that the request was wrong is an HTTP error; other answers are answers."""
        table = {-32700: 400, -32600: 400, -32020: 400, -32021: 400, -32022: 400, -32601: 404, -32602: 200, -32603: 200}

        self.assertEqual(table, {code: answer_status(Error(1, ErrorObject(code, ""))) for code in table})
        self.assertEqual(200, answer_status(Result(1, value({}))))
