"""
The commands C{login} and C{logout}: logging in from anywhere, with a browser anywhere.

They ask the running daemon, which does the work and keeps what comes of it; this end shows what to open, and passes on
what is pasted. No browser is opened unless that was asked for.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

import attrs

from mcpbridge.control import ask
from mcpbridge.core.errors import McpbridgeError
from mcpbridge.core.oauth.urls import is_loopback
from mcpbridge.core.printable import printable
from mcpbridge.orphan.launch import launch
from mcpbridge.others import find_tokens
from mcpbridge.paths import socket_path

OK, FAILED = 0, 1

#: Exit status of C{--status} while the login waits for its human (sysexits: temporary failure).
WAITING = 75

#: Seconds between two looks at whether it is done.
_LOOK = 0.5

#: Bytes that an order to the daemon may have; it takes lines of 16 KiB.
_MAX_ORDER = 15 * 1024


@attrs.frozen
class LoginOptions:
    """
    What was asked for on the command line.

    @ivar step: C{""}: the whole login; C{start}, C{finish}, C{status}, C{cancel}: one step of it.
    @ivar response: for C{finish}: what came back; L{None}: it is on standard input.
    @ivar source: where tokens are to be taken from: a file, C{-}, C{mcp-remote} or C{claude-code}.
    @ivar opens: whether to start a browser.
    """

    server: str
    step: str = ""
    response: str | None = None
    source: str | None = None
    device: bool = False
    anew: bool = False
    opens: bool = False
    as_json: bool = False


def login(options: LoginOptions, environment: Mapping[str, str], out: TextIO, err: TextIO) -> int:
    """@return: the exit status."""
    try:
        return _Login(options, environment, out, err).run()
    except McpbridgeError as error:
        print(f"mcpbridge: {error}", file=err)
        return FAILED
    except KeyboardInterrupt:
        name = shlex.quote(options.server)
        print(f"\nIt still waits: python -m mcpbridge login {name} --finish, or --cancel", file=err)
        return WAITING


def logout(server: str, environment: Mapping[str, str], as_json: bool, out: TextIO, err: TextIO) -> int:
    """@return: the exit status."""
    try:
        answer = _tell("logout", {"server": server}, environment)
    except McpbridgeError as error:
        print(f"mcpbridge: {error}", file=err)
        return FAILED
    if as_json:
        print(json.dumps(answer), file=out)
    else:
        revoked = " and revoked there" if answer.get("revoked") else ""
        print(f"Logged out of {printable(server)}: forgotten here{revoked}.", file=out)
    return OK


@attrs.define(eq=False)
class _Login:
    _options: LoginOptions
    _environment: Mapping[str, str] = attrs.field(repr=False)
    _out: TextIO
    _err: TextIO

    def run(self) -> int:
        options = self._options
        if options.source is not None:
            tokens = find_tokens(options.source, options.server, self._environment, sys.stdin)
            return self._over(self._order("import", tokens=tokens))
        match options.step:
            case "start":
                return self._show(self._start(), waiting=OK)
            case "finish":
                response = options.response if options.response is not None else sys.stdin.readline()
                return self._over(self._order("finish", response=response.strip()))
            case "status":
                return self._show(self._order("status"), waiting=WAITING)
            case "cancel":
                self._order("cancel")
                return OK
        started = self._start()
        if self._show(started, waiting=WAITING) != WAITING:
            return FAILED
        if options.opens:
            self._open(str(started.get("url") or started.get("device_url")))
        return self._wait(pastes="url" in started)

    def _start(self) -> Mapping[str, Any]:
        return self._order("start", device=self._options.device, anew=self._options.anew)

    def _order(self, action: str, **members: Any) -> Mapping[str, Any]:
        return _tell("login", {"server": self._options.server, "action": action, **members}, self._environment)

    def _wait(self, *, pastes: bool) -> int:
        """Until something comes back: to the daemon by itself, or pasted here."""
        listening, typed = pastes, b""
        while True:
            if select.select([0] if listening else [], [], [], _LOOK)[0]:
                data = os.read(0, 65536)
                # Without a terminal there is nobody to paste; the browser may still come.
                listening = bool(data)
                *lines, typed = (typed + data).split(b"\n")
                if not listening and typed:
                    lines.append(typed)
                for line in lines:
                    if line.strip() and self._pasted(line.decode("utf-8", "replace").strip()):
                        return OK
            status = self._order("status")
            if not status.get("waiting"):
                return self._over(status)

    def _pasted(self, line: str) -> bool:
        try:
            return self._over(self._order("finish", response=line)) == OK
        except McpbridgeError as error:
            # If it is over, the next look at the daemon says so.
            print(f"mcpbridge: {error}", file=self._err)
            return False

    def _over(self, said: Mapping[str, Any]) -> int:
        outcome = str(said.get("outcome", ""))
        if self._options.as_json:
            print(json.dumps(said), file=self._out)
        if outcome not in ("logged in", "imported"):
            raise McpbridgeError(outcome or "the login came to nothing")
        if not self._options.as_json:
            print(f"{outcome.capitalize()}. {_until(said)}", file=self._out)
        return OK

    def _show(self, said: Mapping[str, Any], *, waiting: int) -> int:
        if self._options.as_json:
            print(json.dumps(said), file=self._out, flush=True)
            return waiting if said.get("waiting") else OK
        if not said.get("waiting"):
            print(str(said.get("outcome") or "No login waits."), file=self._out)
            return OK
        lines = []
        if "device_url" in said:
            lines += ["Open this on any device:", f"  {said['device_url']}", f"and type the code {said['user_code']}"]
            if self._options.step == "start":
                lines.append(f"To see whether that is done: {self._command} --status")
        if "url" in said:
            lines += [
                "Open this in a browser, on this machine or any other:",
                "",
                f"  {said['url']}",
                "",
                f"If the browser then shows a page that cannot be loaded, copy its whole address and {self._place()}.",
            ]
        print("\n".join(lines), file=self._out, flush=True)
        return waiting

    def _place(self) -> str:
        """Where to paste it: here, if somebody waits here for it."""
        if not self._options.step:
            return "paste it here"
        return f"give it to: {self._command} --finish"

    @property
    def _command(self) -> str:
        return f"python -m mcpbridge login {shlex.quote(self._options.server)}"

    def _open(self, url: str) -> None:
        """Start a browser, as the user wants it in BROWSER. The URL is one argument, the last; no shell sees it."""
        # It is https or loopback and was serialised by the daemon; anything else is not started.
        if not url.startswith("https://") and not (url.startswith("http://") and is_loopback(url)):
            raise McpbridgeError("this URL is not one to open")
        opener = shlex.split(self._environment.get("BROWSER", "").partition(os.pathsep)[0]) or ["xdg-open"]
        words = [word for word in opener if word != "%s"]
        try:
            with open(os.devnull, "r+b") as null:
                actions = [(os.POSIX_SPAWN_DUP2, null.fileno(), number) for number in (0, 1, 2)]
                os.posix_spawnp(words[0], [*words, url], dict(self._environment), file_actions=actions)
        except OSError as error:
            print(f"mcpbridge: no browser could be started ({words[0]}: {error.strerror})", file=self._err)


def _until(said: Mapping[str, Any]) -> str:
    authorization = said.get("authorization")
    if not isinstance(authorization, dict):
        return ""
    seconds, renewable = authorization.get("expires_in"), authorization.get("renewable")
    if renewable:
        return "It is kept fresh from now on."
    return "It does not expire." if seconds is None else f"It is good for {seconds} s and cannot be renewed."


def _tell(verb: str, order: Mapping[str, Any], environment: Mapping[str, str]) -> Mapping[str, Any]:
    """
    Give the daemon an order; one is started if none runs.

    @raise McpbridgeError: it could not be carried out; the text says why.
    """
    path = socket_path(environment)
    line = f"{verb} {json.dumps(order)}"
    if len(line) > _MAX_ORDER:
        raise McpbridgeError(f"this is too long to be passed on (more than {_MAX_ORDER} bytes)")
    sentence = launch(path, lambda: _daemon(path), _sleep)
    if sentence:
        raise McpbridgeError(sentence)
    answer = ask(line, path)
    if not isinstance(answer, dict):
        raise McpbridgeError("the daemon's answer makes no sense; is it of another version?")
    if "error" in answer:
        raise McpbridgeError(str(answer["error"]))
    return answer


def _daemon(path: str) -> object | None:
    with contextlib.suppress(McpbridgeError):
        return object() if ask("status", path) is not None else None
    return None


def _sleep(descriptors: Mapping[int, int], seconds: float) -> dict[int, int]:
    """Wait for descriptors, or just wait, as L{mcpbridge.orphan.launch} wants it."""
    if not descriptors:
        time.sleep(seconds)
        return {}
    poll = select.poll()
    for descriptor, events in descriptors.items():
        poll.register(descriptor, events)
    return dict(poll.poll(max(seconds, 0.0) * 1000))
