"""
The official SDKs that are not those of the other tests: TypeScript 1.x and 2.x, Python 1.x. Each is the client of
server-everything and of a server made with the Python SDK 2.x, directly, through relay and daemon, and through the
daemon's HTTP endpoint.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from tests.integration.generations import PYTHON_1, TYPESCRIPT_1, TYPESCRIPT_2, Generation
from tests.integration.parity import Parity, every_feature
from tests.integration.sdk_scenarios import TABLES

REFERENCE = (
    "audio",
    "cancellation",
    "complete_prompt",
    "elicitation_accepted",
    "elicitation_cancelled",
    "elicitation_declined",
    "elicitation_url",
    "failing",
    "header_parameters",
    "initialize",
    "link",
    "list_changes",
    "logging",
    "meta",
    "mixed_content",
    "own_method",
    "progress",
    "prompt_arguments",
    "prompt_that_asks",
    "prompts",
    "read_blob",
    "read_text",
    "read_unknown",
    "request_state",
    "resource_changes",
    "resource_templates",
    "resources",
    "roots",
    "sampling",
    "spoken_to",
    "structured_content",
    "three_questions",
    "tools",
    "two_rounds",
    "unknown_method",
    "unknown_prompt",
    "unknown_tool",
)
"""The features of the reference server that sdk_scenarios.mjs goes over."""


class _Generation(Parity):
    """
    @cvar sdk: the client.
    @cvar server: its table and transport.
    """

    sdk: ClassVar[Generation]
    server: ClassVar[str]

    @classmethod
    def features(cls) -> Iterable[str]:
        table = cls.server.partition("-")[0]
        names = REFERENCE if table == "reference" else TABLES[table]
        modes = cls.sdk.modes[cls.server]
        return [name for name in names if any(name not in cls.sdk.apart.get((mode, cls.server), ()) for mode in modes)]

    def left_out(self) -> frozenset[str]:
        return self.sdk.apart.get(("auto", self.server), frozenset())

    def results(self) -> dict[str, Any]:
        return self.sdk.seen()[self.server]


def generation(case: type[_Generation]) -> type[Parity]:
    """Class decorator: what there is to test with one SDK and one server."""

    def test_all(self: _Generation) -> None:
        """Every feature that the SDK goes over has a test here."""
        seen = {name for outcomes in self.results().values() for name in outcomes}

        self.assertEqual(set(self.features()), seen - {"connection", "closing"})

    def test_close(self: _Generation) -> None:
        """The client closes its connections without an error on every way."""
        self.assertEqual({}, {way: found["closing"] for way, found in self.results().items() if "closing" in found})

    case.test_all = test_all  # type: ignore[attr-defined]  # the name of a test
    case.test_close = test_close  # type: ignore[attr-defined]  # the name of a test
    return every_feature(case)


@generation
class Python1EverythingStdioTests(_Generation):
    """Python SDK 1.x, server-everything as a child process."""

    sdk = PYTHON_1
    server = "everything-stdio"


@generation
class Python1EverythingHTTPTests(_Generation):
    """Python SDK 1.x, server-everything over Streamable HTTP."""

    sdk = PYTHON_1
    server = "everything-http"


@generation
class Python1SDKStdioTests(_Generation):
    """Python SDK 1.x, a server on the Python SDK 2.x as a child process."""

    sdk = PYTHON_1
    server = "sdk-stdio"


@generation
class Python1SDKHTTPTests(_Generation):
    """Python SDK 1.x, a server on the Python SDK 2.x over Streamable HTTP."""

    sdk = PYTHON_1
    server = "sdk-http"


@generation
class TypeScript1EverythingStdioTests(_Generation):
    """TypeScript SDK 1.x, server-everything as a child process."""

    sdk = TYPESCRIPT_1
    server = "everything-stdio"


@generation
class TypeScript1EverythingHTTPTests(_Generation):
    """TypeScript SDK 1.x, server-everything over Streamable HTTP."""

    sdk = TYPESCRIPT_1
    server = "everything-http"


@generation
class TypeScript1SDKStdioTests(_Generation):
    """TypeScript SDK 1.x, a server on the Python SDK 2.x as a child process."""

    sdk = TYPESCRIPT_1
    server = "sdk-stdio"


@generation
class TypeScript1SDKHTTPTests(_Generation):
    """TypeScript SDK 1.x, a server on the Python SDK 2.x over Streamable HTTP."""

    sdk = TYPESCRIPT_1
    server = "sdk-http"


@generation
class TypeScript2EverythingStdioTests(_Generation):
    """TypeScript SDK 2.x in both modes, server-everything as a child process."""

    sdk = TYPESCRIPT_2
    server = "everything-stdio"


@generation
class TypeScript2EverythingHTTPTests(_Generation):
    """TypeScript SDK 2.x in both modes, server-everything over Streamable HTTP."""

    sdk = TYPESCRIPT_2
    server = "everything-http"


@generation
class TypeScript2SDKStdioTests(_Generation):
    """TypeScript SDK 2.x in both modes, a server on the Python SDK 2.x as a child process."""

    sdk = TYPESCRIPT_2
    server = "sdk-stdio"


@generation
class TypeScript2SDKHTTPTests(_Generation):
    """TypeScript SDK 2.x in both modes, a server on the Python SDK 2.x over Streamable HTTP."""

    sdk = TYPESCRIPT_2
    server = "sdk-http"


@generation
class TypeScript2ReferenceStdioTests(_Generation):
    """TypeScript SDK 2.x in the stateless era, a server of that era as a child process."""

    sdk = TYPESCRIPT_2
    server = "reference-stdio"


@generation
class TypeScript2ReferenceHTTPTests(_Generation):
    """TypeScript SDK 2.x in the stateless era, a server of that era over Streamable HTTP."""

    sdk = TYPESCRIPT_2
    server = "reference-http"
