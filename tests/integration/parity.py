"""
Whatever works directly works through the bridge: the same scenarios over both, and one test for each feature.

A subclass says how its server is started and reached; everything else is the same. Both ways are travelled with the
session era's handshake and with the SDK's automatic negotiation, which begins with server/discover: four clients at the
same moment in one process of the official SDK, once for a class.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import Daemon, plain_environment
from tests.integration.packages import ROOT
from tests.integration.processes import wait_until
from tests.integration.sdk_scenarios import SESSION_ERA, TABLES

TRAVEL_DEADLINE = 120.0
"""Seconds for all scenarios on all ways: about seven when nothing is lost."""

SERVER_DEADLINE = 30.0
"""Seconds until a freshly started HTTP server accepts connections."""

NAME = "server"


def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    """Whether something listens on a port of the loopback interface."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def serving(command: list[str], environment: dict[str, str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; it is entered when the server accepts connections."""
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: accepts(port) or process.poll() is not None, SERVER_DEADLINE, f"{command[:3]} listens")
        yield process
    finally:
        process.kill()
        process.wait()


SESSION = (sys.executable, "-m", "tests.integration.sdk_session")


def saw(command: Sequence[str], request: object, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """
    Have the script of an SDK do what is asked.

    @param environment: more of it than this process has.
    @return: what it printed.
    @raise AssertionError: it failed; the text has its last words.
    """
    done = subprocess.run(
        [*command, json.dumps(request)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": ROOT, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=TRAVEL_DEADLINE,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise AssertionError(f"the SDK's process failed:\n{done.stderr[-4000:]}")
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


class Parity(SynchronousTestCase):
    """
    @cvar table: the scenarios, by name (L{tests.integration.sdk_scenarios.TABLES}).
    @cvar kind: C{stdio}, C{http} or C{sse}.
    @cvar path: of the server's URL.
    """

    table: ClassVar[str]
    kind: ClassVar[str]
    path: ClassVar[str] = "/mcp"
    _seen: ClassVar[dict[type["Parity"], dict[str, Any] | BaseException]] = {}

    def command(self, port: int) -> list[str]:
        """How the server is started."""
        raise NotImplementedError

    def environment(self, port: int) -> dict[str, str]:
        """What the server is given."""
        return {"GIVEN": "yes", "PYTHONPATH": ROOT, "PORT": str(port)}

    def results(self) -> dict[str, Any]:
        """What every way saw, by way and scenario; found out once."""
        kind = type(self)
        if kind not in self._seen:
            try:
                self._seen[kind] = self._travel()
            except Exception as error:  # noqa: BLE001 - raised again, for every test of the class
                self._seen[kind] = error
        seen = self._seen[kind]
        if isinstance(seen, BaseException):
            raise seen
        return seen

    def _travel(self) -> dict[str, Any]:
        port = 0 if self.kind == "stdio" else free_port()
        command, given = self.command(port), self.environment(port)
        with contextlib.ExitStack() as stack:
            if self.kind == "stdio":
                program, *arguments = command
                direct = {"kind": "stdio", "command": command, "env": {**plain_environment("/"), **given}}
                configured: dict[str, Any] = {"command": program, "args": arguments, "env": given}
            else:
                url = f"http://127.0.0.1:{port}{self.path}"
                stack.enter_context(serving(command, {**plain_environment("/"), **given}, port))
                direct = {"kind": self.kind, "url": url}
                configured = {"type": self.kind, "url": url}
            daemon = stack.enter_context(Daemon({NAME: configured}))
            bridge = {"kind": "stdio", "command": daemon.relay(NAME), "env": daemon.environment, "cwd": daemon.folder}
            ways = {"direct": direct, "bridge": bridge}
            ways |= {f"auto {name}": {**way, "mode": "auto"} for name, way in ways.items()}
            return saw(SESSION, {"table": self.table, "ways": ways})

    @classmethod
    def features(cls) -> Iterable[str]:
        """The scenarios that are compared."""
        return TABLES[cls.table]

    def left_out(self) -> frozenset[str]:
        """The scenarios that are not compared with the SDK's automatic negotiation."""
        return SESSION_ERA

    def check(self, scenario: str) -> None:
        """The outcome on every other way is the direct one, in the same mode, and there was one."""
        seen = self.results()
        compared = 0
        for way, found in seen.items():
            mode, _, last = way.rpartition(" ")
            if last == "direct" or (mode and scenario in self.left_out()):
                continue
            direct = seen[f"{mode} direct".strip()]
            if "connection" in direct:
                raise AssertionError(f"the server does not work directly: {direct['connection']}")
            wanted = direct[scenario]
            self.assertNotIn("no end in sight", str(wanted), "it does not work directly either")
            through = found.get(scenario, found.get("connection"))
            if mode:
                # The two ends may speak other revisions, as they do not directly.
                wanted, through = essence(neutral(wanted)), essence(neutral(through))
            self.assertEqual(wanted, through, way)
            compared += 1
        self.assertGreater(compared, 0)


def neutral(found: Any) -> Any:
    """An outcome without what the stateless era puts around every result."""
    if isinstance(found, list):
        return [neutral(each) for each in found]
    if not isinstance(found, dict):
        return found
    kept = {name: neutral(each) for name, each in found.items() if name not in ("resultType", "ttlMs", "cacheScope")}
    if isinstance(kept.get("_meta"), dict):
        kept["_meta"] = {name: each for name, each in kept["_meta"].items() if not name.startswith("io.model")}
        if not kept["_meta"]:
            del kept["_meta"]
    return kept


def essence(outcome: Any) -> Any:
    """
    What has to be the same also where the two ends speak other revisions and the bridge translates.

    That is not the revision, nor what hangs on it: capabilities, the texts of errors, what the other revision has no
    words for (the task support of a tool, the id of a visit, telling of changed roots), and the code of a missing
    resource, which a client of
    2026-07-28 must not be given as the one of before.
    """
    if isinstance(outcome, dict) and "revision" in outcome:
        return {"server": outcome["server"], "instructions": outcome["instructions"]}
    if isinstance(outcome, dict) and isinstance(outcome.get("error"), dict):
        code = outcome["error"]["code"]
        return {"error": _INVALID_PARAMS if code == _RESOURCE_NOT_FOUND else code}
    return sayable(outcome)


_RESOURCE_NOT_FOUND = -32002
_INVALID_PARAMS = -32602
_OF_ONE_REVISION = ("execution", "elicitationId", "elicitation_id")


def sayable(value: Any) -> Any:
    """An outcome without what one of the two revisions has no words for."""
    if isinstance(value, dict) and isinstance(value.get("roots"), dict):
        value = {**value, "roots": {name: member for name, member in value["roots"].items() if name != "listChanged"}}
    if isinstance(value, dict):
        return {name: sayable(member) for name, member in value.items() if name not in _OF_ONE_REVISION}
    if isinstance(value, list):
        return [sayable(element) for element in value]
    return value


def every_feature(case: type[Parity]) -> type[Parity]:
    """Class decorator: one test for each scenario of the table."""
    for name in case.features():

        def test(self: Parity, name: str = name) -> None:
            self.check(name)

        test.__doc__ = f"The feature {name.replace('_', ' ')} works through the bridge as it does directly."
        test.__name__ = f"test_{name}"
        setattr(case, test.__name__, test)
    return case
