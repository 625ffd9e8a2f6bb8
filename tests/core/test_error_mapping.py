"""
Tests for L{mcpbridge.core.error_mapping}.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.eras import legacy, modern
from mcpbridge.core.error_mapping import error_for
from mcpbridge.core.errors import ErrorObject

VERSIONS = (*modern.VERSIONS, *legacy.VERSIONS)
NEWEST = modern.VERSIONS[0]
URI = "file:///a"


def error(code: int, data: Any = None, message: str = "m") -> ErrorObject:
    """What a server says."""
    return ErrorObject(code, message, None if data is None else jsonrpc.value(data))


def told(version: str, given: ErrorObject, method: str = "tools/call", uri: str | None = None) -> tuple[int, str, Any]:
    """The code, the text and the data that a client of this revision gets."""
    found = error_for(version, method, uri, given)
    return (found.code, found.message, None if found.data is None else jsonrpc.read(found.data))


class ResourceTests(SynchronousTestCase):
    """A resource that does not exist."""

    def test_stateless(self) -> None:
        """Clients of the stateless era know it as invalid params, with the uri."""
        table = [
            (None, {"uri": URI}),
            ({"uri": "x:y"}, {"uri": "x:y"}),
            ({"a": 1}, {"a": 1, "uri": URI}),
            ({}, {"uri": URI}),
            ("gone", {"details": "gone", "uri": URI}),
        ]

        self.assertEqual(
            [(-32602, "m", data) for _, data in table],
            [told(NEWEST, error(-32002, data), "resources/read", URI) for data, _ in table],
        )

    def test_of_unknown_uri(self) -> None:
        """Nothing is made up."""
        self.assertEqual((-32602, "m", None), told(NEWEST, error(-32002)))

    def test_session(self) -> None:
        """Clients of the session era have a code for it, whatever the server says."""
        for version in legacy.VERSIONS:
            self.assertEqual(
                [(-32002, "m", {"uri": URI})] * 2,
                [told(version, error(code, {"uri": URI}), "resources/read", URI) for code in (-32602, -32002)],
            )

    def test_other_params(self) -> None:
        """Params can be invalid for many reasons."""
        for given, method, uri in (
            (error(-32602, {"uri": "x:y"}), "resources/read", URI),
            (error(-32602, {"uri": URI}), "tools/call", None),
            (error(-32602, {"uri": [URI]}), "resources/read", URI),
            (error(-32602), "resources/read", URI),
        ):
            self.assertTrue(all(error_for(version, method, uri, given) is given for version in VERSIONS))

    def test_bytes(self) -> None:
        """What is said beside it keeps its bytes."""
        given = ErrorObject(-32002, "m", Raw(b'{"x": 1e400}'))

        self.assertEqual(Raw(b'{"x":1e400,"uri":"file:///a"}'), error_for(NEWEST, "resources/read", URI, given).data)


class UrlTests(SynchronousTestCase):
    """A server that wants a URL visited first."""

    GIVEN = error(
        -32042,
        {"elicitations": [{"url": "https://a.example/"}, {"url": 7}, {"url": "https://b.example/"}]},
        "Authorize first.",
    )

    def test_newer(self) -> None:
        """Clients of 2025-11-25 know what to do."""
        self.assertIs(self.GIVEN, error_for("2025-11-25", "tools/call", None, self.GIVEN))

    def test_older(self) -> None:
        """For the others a person has to read where; nobody else's code for it is theirs."""
        text = "Authorize first. Open this in a browser first, then ask again: https://a.example/ https://b.example/"

        for version in (NEWEST, *legacy.VERSIONS[1:]):
            code, message, data = told(version, self.GIVEN)
            self.assertEqual((-32603, text, 3), (code, message, len(data["elicitations"])))

    def test_many(self) -> None:
        """Nobody opens a thousand."""
        many = error(-32042, {"elicitations": [{"url": f"https://{n}.example/"} for n in range(1000)]})

        self.assertLess(len(told("2025-06-18", many)[1]), 400)

    def test_nowhere(self) -> None:
        """Without a URL it is an error like any other, which in the session era may have any code."""
        self.assertEqual((-32603, "m", None), told(NEWEST, error(-32042)))
        self.assertEqual((-32042, "m", None), told("2025-06-18", error(-32042)))
        self.assertEqual((-32603, "m", {"elicitations": []}), told("2025-06-18", error(-32042, {"elicitations": []})))


class StatelessCodeTests(SynchronousTestCase):
    """Codes of the stateless era."""

    def test_own(self) -> None:
        """Its clients know them."""
        for given in (error(-32020), error(-32021, {"requiredCapabilities": {}}), error(-32022, {"supported": []})):
            self.assertIs(given, error_for(NEWEST, "tools/call", None, given))

    def test_capabilities(self) -> None:
        """Other clients are told in words what they would need."""
        needed = {"requiredCapabilities": {"elicitation": {"url": {}}, "sampling": {}, "roots": {"x": 1}}}

        for version in legacy.VERSIONS:
            self.assertEqual(
                (-32603, "m (the client would need: elicitation.url, sampling, roots)", needed),
                told(version, error(-32021, needed)),
            )

    def test_no_capabilities(self) -> None:
        """Where nothing is named, nothing is added."""
        table: list[Any] = [{"requiredCapabilities": {}}, {"requiredCapabilities": 1}]
        for data in table:
            self.assertEqual((-32603, "m", data), told("2025-11-25", error(-32021, data)))

    def test_others(self) -> None:
        """What a client can do nothing about is an internal error to it."""
        for version in legacy.VERSIONS:
            self.assertEqual(
                [(-32603, "m", None), (-32603, "m", {"supported": ["2026-07-28"]})],
                [told(version, error(-32020)), told(version, error(-32022, {"supported": ["2026-07-28"]}))],
            )

    def test_of_session(self) -> None:
        """A code without its data is somebody's own."""
        for given in (error(-32021), error(-32022, {"requested": 1}), error(-32021, [1])):
            self.assertTrue(all(error_for(version, "tools/call", None, given) is given for version in VERSIONS))

    def test_former(self) -> None:
        """Servers from before it was published have other codes, which count with the data that belongs to them."""
        needed: Any = {"requiredCapabilities": {}}
        supported: Any = {"supported": []}

        self.assertEqual(
            [(-32021, "m", needed), (-32022, "m", supported), (-32603, "m", needed)],
            [
                told(NEWEST, error(-32003, needed)),
                told(NEWEST, error(-32004, supported)),
                told("2025-11-25", error(-32003, needed)),
            ],
        )
        self.assertEqual((-32003, "m", None), told("2025-11-25", error(-32003)))


class AnybodysCodeTests(SynchronousTestCase):
    """Codes that mean something to one server only."""

    def test_stateless(self) -> None:
        """In the stateless era they are reserved: a client gets them beside another code."""
        for code in (-32000, -32001, -32003, -32019):
            self.assertEqual(
                (-32603, "m", {"upstreamError": {"code": code, "message": "m", "data": [1]}}),
                told(NEWEST, error(code, [1])),
            )

    def test_session(self) -> None:
        """In the session era they are anybody's."""
        for code in (-32000, -32001, -32019):
            given = error(code, [1])
            self.assertTrue(all(error_for(version, "tools/call", None, given) is given for version in legacy.VERSIONS))

    def test_standard(self) -> None:
        """Codes of JSON-RPC, of applications, and numbers that are none, mean the same to all."""
        for code in (-32700, -32600, -32601, -32602, -32603, -31999, -32050, -1, 0, 404, 10**30):
            given = error(code, {"uri": URI})
            self.assertTrue(all(error_for(version, "tools/call", None, given) is given for version in VERSIONS))

    def test_twice(self) -> None:
        """What has been mapped needs no mapping."""
        everything = [error(code) for code in range(-32100, -31990)]
        everything += [
            UrlTests.GIVEN,
            error(-32003, {"requiredCapabilities": {"roots": {}}}),
            error(-32004, {"supported": []}),
        ]

        for version in VERSIONS:
            for given in everything:
                once = error_for(version, "resources/read", URI, given)
                self.assertIs(once, error_for(version, "resources/read", URI, once))
