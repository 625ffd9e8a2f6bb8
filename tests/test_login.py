"""
Tests of L{mcpbridge.login}, against a daemon of the tests' own that says what it is told to. Browsers, pasting and a
real daemon are in L{tests.integration.test_login}.
"""

from __future__ import annotations

import io
import json
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge import login as login_module
from mcpbridge.login import FAILED, OK, WAITING, LoginOptions, login, logout

_URL = "https://auth.example.com/authorize?state=x"
_WAITS = {"waiting": True, "outcome": "", "url": _URL}
_DEVICE = {"waiting": True, "outcome": "", "device_url": "https://auth.example.com/code", "user_code": "WDJB-MJHT"}
_FRESH = {"waiting": False, "outcome": "logged in", "authorization": {"expires_in": 60, "renewable": True}}
_NOTHING = {"waiting": False, "outcome": ""}
_PASTE = (
    "Open this in a browser, on this machine or any other:\n\n"
    f"  {_URL}\n\n"
    "If the browser then shows a page that cannot be loaded, copy its whole address and paste it here.\n"
)
_TYPE = "Open this on any device:\n  https://auth.example.com/code\nand type the code WDJB-MJHT\n"


class _Case(SynchronousTestCase):
    """
    One terminal.

    @ivar answers: of the daemon to orders, one after the other; the last one is repeated.
    @ivar ordered: the orders.
    """

    def setUp(self) -> None:
        # A socket's path has to be short, which trial's own folders are not.
        folder = tempfile.TemporaryDirectory(prefix="mcpbridge-")
        self.addCleanup(folder.cleanup)
        self.home = folder.name
        self.path = os.path.join(folder.name, "s")
        self.environment = {"MCPBRIDGE_SOCKET": self.path, "HOME": folder.name, "PATH": os.environ["PATH"]}
        self.answers: list[Any] = []
        self.ordered: list[tuple[str, Any]] = []
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(login_module, "_LOOK", 0.0)
        self._listen()

    def _listen(self) -> None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.path)
        listener.listen(8)

        def serve() -> None:
            while True:
                connection, _ = listener.accept()
                with connection:
                    line = connection.makefile("r", encoding="ascii").readline()
                    if line == "":
                        return
                    connection.sendall(json.dumps(self._answer(line)).encode())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()

        def end() -> None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as last:
                last.connect(self.path)
            thread.join(10)
            listener.close()

        self.addCleanup(end)

    def _answer(self, line: str) -> Any:
        verb, _, order = line.removeprefix("CONTROL/1 ").rstrip("\n").partition(" ")
        if verb == "status":
            return {}
        self.ordered.append((verb, json.loads(order)))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def said(self, code: int) -> tuple[int, str, str]:
        """@return: the exit status, and what was printed since the last time."""
        found = code, self.out.getvalue(), self.err.getvalue()
        self.out, self.err = io.StringIO(), io.StringIO()
        return found

    def login(self, *answers: Any, server: str = "it", **options: Any) -> tuple[int, str, str]:
        self.answers, self.ordered = list(answers), []
        return self.said(login(LoginOptions(server, **options), self.environment, self.out, self.err))

    @property
    def actions(self) -> list[str]:
        return [order["action"] for _, order in self.ordered]


class LoginTests(_Case):
    """C{mcpbridge login}."""

    def test_steps(self) -> None:
        """Each step is one order; what comes of it is shown, and is the exit status."""
        later = _PASTE.replace("paste it here", "give it to: python -m mcpbridge login it --finish")
        quoted = later.replace("login it", "login 'it'\"'\"'s'")
        look = "To see whether that is done: python -m mcpbridge login it --status\n"
        broken = {"waiting": False, "outcome": "nobody finished the login in time"}
        for options, answer, expected in (
            ({"step": "start"}, _WAITS, (OK, later, "")),
            ({"step": "start", "device": True}, _DEVICE, (OK, _TYPE + look, "")),
            ({"step": "start", "server": "it's"}, _WAITS, (OK, quoted, "")),
            ({"step": "status"}, _WAITS, (WAITING, later, "")),
            ({"step": "status"}, _FRESH, (OK, "logged in\n", "")),
            ({"step": "status"}, _NOTHING, (OK, "No login waits.\n", "")),
            ({"step": "cancel"}, _NOTHING, (OK, "", "")),
            ({"step": "finish", "response": " x "}, _FRESH, (OK, "Logged in. It is kept fresh from now on.\n", "")),
            ({"step": "finish", "response": "x"}, _NOTHING, (FAILED, "", "mcpbridge: the login came to nothing\n")),
            ({"step": "finish", "response": "x"}, broken, (FAILED, "", f"mcpbridge: {broken['outcome']}\n")),
            (
                {"step": "finish", "response": "x"},
                {"error": "no login waits"},
                (FAILED, "", "mcpbridge: no login waits\n"),
            ),
        ):
            found = self.login(answer, **options)

            self.assertEqual(expected, found, options)
            self.assertEqual([options["step"]], self.actions)

    def test_orders(self) -> None:
        """What is passed on to the daemon."""
        self.login(_WAITS, step="start", device=True, anew=True)
        started = self.ordered
        self.login(_FRESH, step="finish", response=" https://x/?code=1 \n")

        self.assertEqual([("login", {"server": "it", "action": "start", "device": True, "anew": True})], started)
        self.assertEqual(
            [("login", {"server": "it", "action": "finish", "response": "https://x/?code=1"})], self.ordered
        )

    def test_typed(self) -> None:
        """Without an argument the answer is a line of the standard input."""
        self.patch(sys, "stdin", io.StringIO("code-1\nmore\n"))

        self.login(_FRESH, step="finish")

        self.assertEqual("code-1", self.ordered[0][1]["response"])

    def test_how_long(self) -> None:
        """What was got is not always got for ever."""
        for authorization, text in (
            ({"expires_in": 60, "renewable": True}, "It is kept fresh from now on."),
            ({"expires_in": 60, "renewable": False}, "It is good for 60 s and cannot be renewed."),
            ({"expires_in": None, "renewable": False}, "It does not expire."),
            (None, ""),
        ):
            answer = {"waiting": False, "outcome": "imported", "authorization": authorization}

            _, out, _ = self.login(answer, step="finish", response="x")

            self.assertEqual(f"Imported. {text}\n", out)

    def test_json(self) -> None:
        """For programs: what the daemon said, one line each."""
        for step, answer, code in (
            ("start", _WAITS, OK),
            ("status", _WAITS, WAITING),
            ("status", _NOTHING, OK),
            ("finish", _FRESH, OK),
            ("finish", _NOTHING, FAILED),
        ):
            found, out, _ = self.login(answer, step=step, response="x", as_json=True)

            self.assertEqual((code, answer), (found, json.loads(out)), step)

    def test_waits(self) -> None:
        """A login on another device is looked at until it is over."""
        for last, expected in (
            (_FRESH, (OK, "Logged in. It is kept fresh from now on.\n", "")),
            ({"waiting": False, "outcome": "access_denied"}, (FAILED, "", "mcpbridge: access_denied\n")),
        ):
            code, out, err = self.login(_DEVICE, _DEVICE, _DEVICE, last, device=True)

            self.assertEqual(expected, (code, out.removeprefix(_TYPE), err))
            self.assertEqual(["start", "status", "status", "status"], self.actions)

    def test_nothing_to_wait_for(self) -> None:
        """A start after which nothing waits is no login."""
        self.assertEqual((FAILED, "No login waits.\n", ""), self.login(_NOTHING))

    def test_interrupted(self) -> None:
        """Control-C ends the command, not the login; how to go on is said."""

        def interrupted(*_: object) -> Mapping[str, Any]:
            raise KeyboardInterrupt

        self.patch(login_module, "ask", interrupted)

        self.assertEqual(
            (WAITING, "", "\nIt still waits: python -m mcpbridge login it --finish, or --cancel\n"), self.login(_WAITS)
        )

    def test_import(self) -> None:
        """Tokens from a file, or from the standard input; where there are none nothing is ordered."""
        path = os.path.join(self.home, "tokens.json")
        with open(path, "w") as file:
            json.dump({"access_token": "access-1"}, file)
        self.patch(sys, "stdin", io.StringIO('{"access_token": "access-2"}'))
        answer = {"waiting": False, "outcome": "imported"}

        for source, orders in (
            (path, [{"server": "it", "action": "import", "tokens": {"access_token": "access-1"}}]),
            ("-", [{"server": "it", "action": "import", "tokens": {"access_token": "access-2"}}]),
            (path + "x", []),
        ):
            code, _, err = self.login(answer, source=source)

            self.assertEqual(OK if orders else FAILED, code, err)
            self.assertEqual(orders, [order for _, order in self.ordered])

    def test_too_long(self) -> None:
        """What the daemon would not read is not sent."""
        code, _, err = self.login(_FRESH, step="finish", response="x" * 20_000)

        self.assertEqual((FAILED, []), (code, self.ordered))
        self.assertIn("too long to be passed on", err)

    def test_other_version(self) -> None:
        """An answer that is none."""
        code, _, err = self.login([1], step="start")

        self.assertEqual(
            (FAILED, "mcpbridge: the daemon's answer makes no sense; is it of another version?\n"), (code, err)
        )


class OpenTests(_Case):
    """C{mcpbridge login --open}."""

    def browse(self, url: str, browser: str) -> tuple[int, str, str]:
        """Log in on a device, so that nothing is read from the terminal."""
        self.environment["BROWSER"] = browser
        found = self.login({**_DEVICE, "device_url": url}, _FRESH, opens=True, device=True)
        return found[0], "", found[2]

    def test_opened(self) -> None:
        """The program gets the URL as one argument, the last; no shell has a look at it."""
        shown = os.path.join(self.home, "shown")
        script = os.path.join(self.home, "browser")
        with open(script, "w") as file:
            file.write(f'#!/bin/sh\nprintf "%s\\n" "$#" "$@" > {shown}.new && mv {shown}.new {shown}\n')
        os.chmod(script, 0o700)

        started: list[int] = []
        spawn = os.posix_spawnp

        def noted(*args: Any, **options: Any) -> int:
            started.append(spawn(*args, **options))
            return started[-1]

        self.patch(os, "posix_spawnp", noted)

        found = self.browse("https://auth.example.com/?a=$(id)&b='c d'", f"{script} --new %s:other")
        os.waitpid(started[0], 0)

        self.assertEqual((OK, "", ""), found)
        with open(shown) as file:
            self.assertEqual("2\n--new\nhttps://auth.example.com/?a=$(id)&b='c d'\n", file.read())

    def test_no_browser(self) -> None:
        """The login goes on without one; the URL has been shown."""
        code, _, err = self.browse(_URL, "/nonexistent/browser")

        self.assertEqual(
            (OK, "mcpbridge: no browser could be started (/nonexistent/browser: No such file or directory)\n"),
            (code, err),
        )

    def test_not_opened(self) -> None:
        """Whatever the daemon says, no program is started on anything but https or loopback."""
        for url in (
            "file:///etc/passwd",
            "javascript:alert(1)",
            "--help",
            "http://example.com/",
            "http://localhost.evil.example/",
            "http://127.0.0.1.evil.example/",
            "http://127.0.0.1@evil.example/",
            "HTTPS://x",
            "ms:x",
        ):
            found = self.browse(url, "/nonexistent/browser")

            self.assertEqual((FAILED, "", "mcpbridge: this URL is not one to open\n"), found, url)


class LogoutTests(_Case):
    """C{mcpbridge logout}."""

    def test_logout(self) -> None:
        """What was forgotten, where; for humans and for programs."""
        for answer, as_json, expected in (
            ({"revoked": True}, False, (OK, "Logged out of it: forgotten here and revoked there.\n", "")),
            ({"revoked": False}, False, (OK, "Logged out of it: forgotten here.\n", "")),
            ({"revoked": True}, True, (OK, '{"revoked": true}\n', "")),
            ({"error": "there is no server 'it'"}, False, (FAILED, "", "mcpbridge: there is no server 'it'\n")),
        ):
            self.answers, self.ordered = [answer], []

            code = logout("it", self.environment, as_json, self.out, self.err)
            found = self.said(code)

            self.assertEqual((expected, [("logout", {"server": "it"})]), (found, self.ordered))
