"""
The official SDKs that are not those of the other tests: TypeScript 1.x and 2.x, Python 1.x. Each is the client of
server-everything and of a server made with the Python SDK 2.x, directly, through relay and daemon, and through the
daemon's HTTP endpoint.

There they are given answers last (sdk_peer.mjs says why). That TypeScript's lose no progress as they are, either, is
tested by itself.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import Daemon, plain_environment
from tests.integration.generations import PYTHON_1, TYPESCRIPT_1, TYPESCRIPT_2, Generation
from tests.integration.packages import ROOT
from tests.integration.parity import Parity, every_feature, free_port, serving
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


_SERVER = [sys.executable, "-m", "tests.integration.sdk_server"]

_ALL_HEARD = [20] * 20
"""Messages of progress, for each call."""

_TRIES = 5
"""An answer waits some milliseconds for a client that does not read; on a busy machine that may be none of its own.
Without waiting about half of the calls lose some, and to see all 400 even once is out of the question."""

_DEADLINE = 60.0
"""Seconds for one try: about one."""


class ProgressTests(SynchronousTestCase):
    """
    The TypeScript SDKs, unmodified, hear all progress of calls that are answered at once afterwards.
    """

    def heard(self, sdk: Generation, way: dict[str, Any], mode: str) -> Any:
        """What an SDK hears of each of 20 calls on this way; at best."""
        command, _, more = sdk.script()
        own = {**way, "table": "bursts", "unmodified": True, "mode": mode}
        found = None
        for _ in range(_TRIES):
            done = subprocess.run(
                [*command, json.dumps({**more, "ways": {"way": own}})],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=_DEADLINE,
                stdin=subprocess.DEVNULL,
            )
            self.assertEqual(0, done.returncode, done.stderr[-4000:])
            found = json.loads(done.stdout)["way"].get("bursts")
            if found == _ALL_HEARD:
                break
        return found

    def check(self, daemon: Daemon, name: str, *options: str) -> None:
        """Both generations hear everything on the way through a relay to a server."""
        way = {
            "kind": "stdio",
            "command": daemon.relay(name, *options),
            "env": daemon.environment,
            "cwd": daemon.folder,
        }
        for sdk, mode in ((TYPESCRIPT_1, "legacy"), (TYPESCRIPT_2, "legacy"), (TYPESCRIPT_2, "auto")):
            self.assertEqual(_ALL_HEARD, self.heard(sdk, way, mode), (sdk.script()[2], mode))

    def child(self) -> dict[str, Any]:
        """The server as a child process."""
        program, *arguments = [*_SERVER, "stdio"]
        return {"command": program, "args": arguments, "env": {"PYTHONPATH": ROOT}}

    def test_child(self) -> None:
        """Of a server that is a child process."""
        with Daemon({"child": self.child()}) as daemon:
            self.check(daemon, "child")

    def test_http(self) -> None:
        """Of one on HTTP, whose progress may come from the network in one piece with its answer."""
        port = free_port()
        with contextlib.ExitStack() as stack:
            stack.enter_context(serving([*_SERVER, "http", str(port)], plain_environment("/"), port))
            daemon = stack.enter_context(Daemon({"web": {"type": "http", "url": f"http://127.0.0.1:{port}/mcp"}}))
            self.check(daemon, "web")

    def test_standalone(self) -> None:
        """Without a daemon."""
        with Daemon({"child": self.child()}) as daemon:
            self.check(daemon, "child", "--standalone")
