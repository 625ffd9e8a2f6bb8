"""
A script: the client that the conformance suite examines, which is a relay and a daemon of ours, and the human who logs
in when they say so.

    python -m tests.conformance.auth.client URL

The suite says in the environment which scenario it is, of which revision, and what was agreed on before. Exit status 0:
the tools could be listed and called.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import IO, Any

from tests.conformance.auth.suite import CLIENT_DEADLINE
from tests.integration.daemon import Daemon

_NAME = "examined"

_DOCUMENT = "https://conformance-test.local/client-metadata.json"
"""The client ID metadata document that the suite's authorization servers know of."""

_ATTEMPTS = 6
"""A human's patience with one request: the scenario of the retry limit wants to see that it is not needed."""

_TOOLS_DEADLINE = 4.0
"""Seconds from the end of a login to a list of tools; a few scenarios have none."""

_LOOK = 0.1
"""Seconds between two looks at the list of tools."""

_FETCH_DEADLINE = 10
"""Seconds for a page of the authorization server and of the redirect."""

_STATELESS_ERA = "2026"
"""Revisions from then on have no handshake and carry what it said in each request."""

_SOURCE = {"name": "conformance", "version": "1"}


def entry(scenario: str, url: str, context: Mapping[str, Any], folder: str) -> Mapping[str, Any]:
    """
    What a user would have configured.

    @param context: what the suite has agreed on with the user.
    @param folder: for a key.
    """
    match scenario:
        case "auth/pre-registration":
            oauth: dict[str, Any] = {"clientId": context["client_id"], "clientSecret": context["client_secret"]}
        case "auth/client-credentials-basic":
            oauth = {
                "grant": "client_credentials",
                "clientId": context["client_id"],
                "clientSecret": context["client_secret"],
            }
        case "auth/client-credentials-jwt":
            path = os.path.join(folder, "key.pem")
            with open(path, "w", encoding="ascii") as file:
                file.write(context["private_key_pem"])
            oauth = {
                "grant": "client_credentials",
                "clientId": context["client_id"],
                "privateKey": {"file": path},
                "algorithm": context.get("signing_algorithm", "ES256"),
            }
        case "auth/enterprise-managed-authorization":
            oauth = {
                "grant": "enterprise",
                "clientId": context["client_id"],
                "clientSecret": context["client_secret"],
                "issuer": context.get("auth_server_issuer") or _issuer(url),
                "identityProvider": {
                    "tokenEndpoint": context["idp_token_endpoint"],
                    "token": context["idp_id_token"],
                    "clientId": context["idp_client_id"],
                },
            }
        case _:
            oauth = {"clientDocument": _DOCUMENT}
    return {"url": url, "oauth": oauth}


def _issuer(url: str) -> str:
    """Whom an administrator would have named: the authorization server of the resource."""
    where = url.replace("/mcp", "/.well-known/oauth-protected-resource/mcp")
    with urllib.request.urlopen(where, timeout=_FETCH_DEADLINE) as page:
        issuer: str = json.load(page)["authorization_servers"][0]
    return issuer


class Client:
    """
    A client with one server behind the bridge, and its human.

    @ivar outcome: what came of the last login; empty: there was none.
    """

    def __init__(self, daemon: Daemon, relay: "subprocess.Popen[bytes]", revision: str) -> None:
        assert relay.stdin is not None and relay.stdout is not None
        self.outcome = ""
        self._daemon = daemon
        self._to: IO[bytes] = relay.stdin
        self._from: IO[bytes] = relay.stdout
        self._revision = revision
        self._stateless = revision >= _STATELESS_ERA
        self._asked = 0

    def run(self) -> bool:
        """
        List the tools and call each, with whatever login that takes.

        @return: whether it worked.
        """
        if not self._stateless:
            opened = self._ask(
                "initialize", {"protocolVersion": self._revision, "capabilities": {}, "clientInfo": _SOURCE}
            )
            if "result" not in opened:
                return False
            self._say({"method": "notifications/initialized"})
        tools = self._tools()
        if not tools:
            return tools is not None and self.outcome == "logged in"
        return all("result" in self._ask("tools/call", {"name": tool["name"], "arguments": {}}) for tool in tools)

    def _tools(self) -> list[Mapping[str, Any]] | None:
        """The list, once somebody has logged in: a server that wants a login has none before. L{None}: an error."""
        end = time.monotonic() + _TOOLS_DEADLINE
        while True:
            listed = self._ask("tools/list", {})
            if "result" not in listed:
                return None
            tools: list[Mapping[str, Any]] = listed["result"]["tools"]
            if tools or time.monotonic() > end:
                return tools
            status = self._login("status")
            if status.get("waiting"):
                self._open(status["url"])
                end = time.monotonic() + _TOOLS_DEADLINE
                if self.outcome != "logged in":
                    return None
            time.sleep(_LOOK)

    def _ask(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Its answer, after the logins that it wants."""
        for _ in range(_ATTEMPTS):
            answer = self._answer(method, params)
            _, wants, rest = str(answer.get("error", {}).get("message", "")).partition("open http")
            if not wants:
                break
            self._open(f"http{rest.partition(', or run')[0]}")
        return answer

    def _answer(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        self._asked += 1
        if self._stateless:
            meta = {"protocolVersion": self._revision, "clientCapabilities": {}, "clientInfo": _SOURCE}
            meta = {f"io.modelcontextprotocol/{name}": value for name, value in meta.items()}
            params = {**params, "_meta": meta}
        self._say({"id": self._asked, "method": method, "params": params})
        for line in self._from:
            answer: Mapping[str, Any] = json.loads(line)
            if answer.get("id") == self._asked and "method" not in answer:
                _note(f"{method}: {line[:400].decode(errors='replace')}")
                return answer
        raise AssertionError("the relay ended")

    def _say(self, message: Mapping[str, Any]) -> None:
        self._to.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self._to.flush()

    def _open(self, url: str) -> None:
        """What a human does with a URL; all human beings of the suite agree to everything."""
        try:
            with urllib.request.urlopen(url, timeout=_FETCH_DEADLINE) as page:
                _note(f"the browser shows {page.status}")
        except urllib.error.URLError as error:
            _note(f"the browser shows: {error}")
        self.outcome = str(self._login("status").get("outcome", ""))
        _note(f"the login: {self.outcome}")

    def _login(self, action: str) -> Mapping[str, Any]:
        said: Mapping[str, Any] = self._daemon.ask(f"login {json.dumps({'server': _NAME, 'action': action})}")
        return said


def _note(text: str) -> None:
    """For whoever has to find out: the suite shows it when a scenario fails."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def examine(url: str, environment: Mapping[str, str]) -> bool:
    """
    @param environment: what the suite says in it.
    @return: whether the client got what it wanted.
    """
    scenario = environment["MCP_CONFORMANCE_SCENARIO"]
    context = json.loads(environment.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    daemon = Daemon({})
    try:
        daemon.configure({_NAME: entry(scenario, url, context, daemon.folder)})
        daemon.start()
        relay = subprocess.Popen(
            daemon.relay(_NAME), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=daemon.environment
        )
        try:
            got = Client(daemon, relay, environment["MCP_CONFORMANCE_PROTOCOL_VERSION"]).run()
        finally:
            relay.kill()
            relay.communicate()
        daemon.finish()
        return got
    finally:
        with contextlib.suppress(OSError):
            _note(daemon.log()[-4000:])
        daemon.discard()


def _ended(number: int, _: object) -> None:
    raise SystemExit(f"ended by {signal.Signals(number).name}")


if __name__ == "__main__":
    # The daemon must not outlive us, whoever ends us.
    signal.signal(signal.SIGTERM, _ended)
    signal.signal(signal.SIGALRM, _ended)
    signal.alarm(CLIENT_DEADLINE)
    sys.exit(0 if examine(sys.argv[-1], os.environ) else 1)
