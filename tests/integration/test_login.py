"""
C{python -m mcpbridge login} as a user runs it, against a real daemon that it starts by itself.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from twisted.internet import reactor as global_reactor  # noqa: TID251 - a test of the real thing
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, readBody

from tests.authorization_server import Family, Model, serve

reactor: Any = global_reactor

_HELLO: Mapping[str, Any] = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "t", "version": "1"},
}
_META: Mapping[str, Any] = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
}


class _Command(ProcessProtocol):
    """One run of a program."""

    def __init__(self) -> None:
        self.out = b""
        self.err = b""
        self.ended: Deferred[int] = Deferred()

    def outReceived(self, data: bytes) -> None:
        self.out += data

    def errReceived(self, data: bytes) -> None:
        self.err += data

    def processEnded(self, reason: Failure) -> None:
        self.ended.callback(0 if reason.check(ProcessDone) else int(getattr(reason.value, "exitCode", -1) or -1))


class LoginTests(TestCase):
    """One user, one server, no browser on this machine."""

    timeout = 60

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        self.home = os.path.abspath(self.mktemp())
        os.makedirs(os.path.join(self.home, "run"), 0o700)
        self.model = Model(now=time.time)
        self.port = serve(reactor, self.model)
        # A socket's path is short.
        self.socket = f"/tmp/mcpbridge-test-{os.getpid()}-{id(self)}/s"
        os.mkdir(os.path.dirname(self.socket), 0o700)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": self.home,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "MCPBRIDGE_SOCKET": self.socket,
            "MCPBRIDGE_STATE_DIR": os.path.join(self.home, "state"),
            "MCPBRIDGE_SERVERS": json.dumps({"guarded": {"url": self.model.upstream}}),
        }

    async def tearDown(self) -> None:  # type: ignore[override]  # as above
        await self.run_command("stop")
        for name in os.listdir(os.path.dirname(self.socket)):
            os.unlink(os.path.join(os.path.dirname(self.socket), name))
        os.rmdir(os.path.dirname(self.socket))
        await self.port.stopListening()

    def begin(self, *arguments: str, module: str = "mcpbridge") -> _Command:
        command = _Command()
        words = [sys.executable, "-m", module, *arguments]
        reactor.spawnProcess(command, sys.executable, words, self.environment)
        return command

    async def run_command(self, *arguments: str, typed: str = "") -> tuple[int, str, str]:
        command = self.begin(*arguments)
        assert command.transport is not None
        command.transport.write(typed.encode())
        command.transport.closeStdin()
        code = await command.ended
        return code, command.out.decode(), command.err.decode()

    async def open(self, url: str) -> str:
        """Where a browser is sent."""
        response = await Agent(reactor).request(b"GET", url.encode())
        return str(response.headers.getRawHeaders("location")[0])

    async def until(self, command: _Command, text: bytes) -> str:
        for _ in range(400):
            if text in command.out and command.out.endswith(b"\n"):
                return command.out.decode()
            await deferLater(reactor, 0.05)
        raise AssertionError((command.out, command.err))

    async def ask(self, relay: _Command, number: int, method: str, **params: Any) -> Any:
        """The answer to a request of a client that stays."""
        said = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        self.type(relay, json.dumps(said).encode() + b"\n")
        await self.until(relay, b'"id":%d' % number)
        if method == "initialize":
            self.type(relay, b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        answers = [json.loads(line) for line in relay.out.splitlines()]
        return next(answer for answer in answers if answer.get("id") == number)

    async def follow(self, refused: Mapping[str, Any]) -> str:
        """Open the URL that a call was refused with, as a human does. @return: what else it said."""
        _, _, rest = refused["error"]["message"].partition("open ")
        url, _, advice = rest.partition(", or run: ")
        page = await Agent(reactor).request(b"GET", (await self.open(url)).encode())
        await readBody(page)
        return str(advice)

    def type(self, command: _Command, data: bytes) -> None:
        assert command.transport is not None
        command.transport.write(data)

    def end_input(self, command: _Command) -> None:
        assert command.transport is not None
        command.transport.closeStdin()

    async def call(self) -> Any:
        """What a client gets: the answer to a call, or the error."""
        relay = self.begin("guarded", module="mcpbridge.stdio")
        assert relay.transport is not None
        for message in (
            {"id": 1, "method": "initialize", "params": _HELLO},
            {"method": "notifications/initialized"},
            {"id": 2, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}},
        ):
            relay.transport.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        await self.until(relay, b'"id":2')
        relay.transport.closeStdin()
        await relay.ended
        answers: list[Mapping[str, Any]] = [json.loads(line) for line in relay.out.splitlines()]
        answer = next(answer for answer in answers if answer.get("id") == 2)
        return answer["result"]["content"][0]["text"] if "result" in answer else answer["error"]["message"]

    async def test_same_session(self) -> None:
        """
        A client that comes before the login is let in with empty lists, and told by a call what to do; after the login
        it is told that the lists have changed, and the same session goes on.
        """
        relay = self.begin("guarded", module="mcpbridge.stdio")
        opened = await self.ask(relay, 1, "initialize", **_HELLO)
        before = await self.ask(relay, 2, "tools/list")
        refused = await self.ask(relay, 3, "tools/call", name="whoami", arguments={})

        advice = await self.follow(refused)
        await self.until(relay, b"notifications/tools/list_changed")
        after = await self.ask(relay, 4, "tools/list")
        answer = await self.ask(relay, 5, "tools/call", name="whoami", arguments={})
        self.end_input(relay)
        await relay.ended

        self.assertEqual({"listChanged": True}, opened["result"]["capabilities"]["tools"])
        self.assertEqual([], before["result"]["tools"])
        self.assertEqual("python -m mcpbridge login guarded. Then ask again", advice)
        self.assertEqual("auth_required", refused["error"]["data"]["mcpbridge"]["reason"])
        self.assertEqual(["whoami"], [tool["name"] for tool in after["result"]["tools"]])
        self.assertEqual("call 1", answer["result"]["content"][0]["text"])

    async def test_stateless(self) -> None:
        """The same for a client without a session: it subscribes to be told."""
        relay = self.begin("guarded", module="mcpbridge.stdio")
        before = await self.ask(relay, 1, "tools/list", _meta=_META)
        wanted = {"_meta": _META, "notifications": {"toolsListChanged": True}}
        listen = {"jsonrpc": "2.0", "id": "listen", "method": "subscriptions/listen", "params": wanted}
        self.type(relay, json.dumps(listen).encode() + b"\n")
        await self.until(relay, b"notifications/subscriptions/acknowledged")
        refused = await self.ask(relay, 2, "tools/call", name="whoami", arguments={}, _meta=_META)

        await self.follow(refused)
        await self.until(relay, b"notifications/tools/list_changed")
        after = await self.ask(relay, 3, "tools/list", _meta=_META)
        answer = await self.ask(relay, 4, "tools/call", name="whoami", arguments={}, _meta=_META)
        self.end_input(relay)
        await relay.ended

        self.assertEqual([], before["result"]["tools"])
        self.assertEqual(["whoami"], [tool["name"] for tool in after["result"]["tools"]])
        self.assertEqual("call 1", answer["result"]["content"][0]["text"])

    async def test_paste(self) -> None:
        """One command: it prints a URL, takes the address that came back, and the server can be used."""
        login = self.begin("login", "guarded")
        assert login.transport is not None
        shown = await self.until(login, b"paste it here")
        url = next(line.strip() for line in shown.splitlines() if "authorize" in line)

        login.transport.write(b"nonsense with blanks\n")
        login.transport.write((await self.open(url)).encode() + b"\n")
        code = await login.ended

        self.assertEqual((0, True), (code, b"Logged in. It is kept fresh from now on." in login.out), login.err)
        self.assertIn(b"there is no authorization code in this", login.err)
        self.assertEqual("call 1", await self.call())

    async def test_browser(self) -> None:
        """The same command ends by itself when a browser came back, also without a terminal."""
        login = self.begin("login", "guarded")
        assert login.transport is not None
        login.transport.closeStdin()
        shown = await self.until(login, b"paste it here")
        url = next(line.strip() for line in shown.splitlines() if "authorize" in line)

        page = await Agent(reactor).request(b"GET", (await self.open(url)).encode())
        await readBody(page)
        code = await login.ended

        self.assertEqual((200, 0), (page.code, code), login.err)
        self.assertEqual("call 1", await self.call())

    async def test_two_steps(self) -> None:
        """Begun now, finished later, with a restart of the daemon in between; then out again."""
        code, out, _ = await self.run_command("login", "guarded", "--start", "--json")
        url = json.loads(out)["url"]
        waiting = await self.run_command("login", "guarded", "--status")
        await self.run_command("stop")

        finished = await self.run_command("login", "guarded", "--finish", typed=f"{await self.open(url)}\n")
        answer = await self.call()
        left = await self.run_command("logout", "guarded")

        self.assertEqual((0, 75), (code, waiting[0]))
        self.assertEqual((0, "Logged in. It is kept fresh from now on.\n", ""), finished)
        self.assertEqual("call 1", answer)
        self.assertEqual((0, "Logged out of guarded: forgotten here and revoked there.\n", ""), left)
        self.assertIn("python -m mcpbridge login guarded", await self.call())

    async def test_import(self) -> None:
        """Tokens of mcp-remote, of Claude Code, of a file."""
        client = self.model.register({"application_type": "native", "redirect_uris": ["http://127.0.0.1:1/x"]})[1]
        tokens = self.model._grant(Family(client["client_id"], "mcp", self.model.upstream))[1]
        claude = os.path.join(self.home, ".claude", ".credentials.json")
        os.mkdir(os.path.dirname(claude))
        kept = {
            "serverUrl": self.model.upstream,
            "clientId": client["client_id"],
            "accessToken": tokens["access_token"],
            "refreshToken": tokens["refresh_token"],
            "expiresAt": (time.time() + 3600) * 1000,
        }
        with open(claude, "w") as file:
            json.dump({"mcpOAuth": {"guarded|abc": kept}}, file)

        nobody = await self.run_command("login", "guarded", "--import", "mcp-remote")
        imported = await self.run_command("login", "guarded", "--import", "claude-code")

        self.assertEqual((1, "mcpbridge: mcp-remote has no tokens for guarded here\n"), (nobody[0], nobody[2]))
        self.assertEqual((0, "Imported. It is kept fresh from now on.\n", ""), imported)
        self.assertEqual("call 1", await self.call())

    async def test_mistakes(self) -> None:
        """What goes wrong is said in a sentence, with what to do."""
        unknown = await self.run_command("login", "gaurded")
        late = await self.run_command("login", "guarded", "--finish", "code")
        self.model.metadata["code_challenge_methods_supported"] = None
        weak = await self.run_command("login", "guarded", "--start")

        self.assertEqual([1, 1, 1], [unknown[0], late[0], weak[0]])
        self.assertIn("did you mean guarded", unknown[2])
        self.assertIn("no login waits", late[2])
        self.assertIn("PKCE", weak[2])

    async def test_no_secrets_in_the_log(self) -> None:
        """Whatever happens, no token, code, state or verifier is in the daemon's log."""
        self.environment["MCPBRIDGE_LOG_LEVEL"] = "debug"
        _, out, _ = await self.run_command("login", "guarded", "--start", "--json")
        back = await self.open(json.loads(out)["url"])
        await self.run_command("login", "guarded", "--finish", typed=f"{back}\n")
        await self.call()
        await self.run_command("logout", "guarded")
        await self.run_command("stop")

        with open(os.path.join(self.home, "state", "daemon.log")) as file:
            log = file.read()
        secrets = [*self.model.access, *self.model.refresh, back.split("code=")[1][:20], back.split("state=")[1][:20]]
        self.assertIn("logged in", log)
        self.assertEqual([], [secret for secret in secrets if secret in log])
