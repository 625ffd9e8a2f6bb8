"""Tests for L{mcpbridge.orphan.refusal}."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.orphan import refusal
from mcpbridge.orphan.refusal import FIRST, NEXT, refuse
from tests.downstream.manual import drained
from tests.orphan.fake_relay import FakeRelay, Left


class RefusalTests(SynchronousTestCase):
    """A client that no daemon takes."""

    def setUp(self) -> None:
        """The clock is the relay's, and its stdin no terminal."""
        self.relay = FakeRelay(self.addCleanup)
        self.patch(refusal, "time", self.relay)
        self.patch(os, "isatty", lambda fd: False)

    def refused(self) -> float:
        """Seconds that it took."""
        before = self.relay.now
        left = self.assertRaises(Left, refuse, self.relay, "there is no server linear")
        self.assertEqual((1,), left.args)
        return self.relay.now - before

    def heard(self) -> list[Any]:
        """What the client hears."""
        return [json.loads(line) for line in drained(self.relay.client_stdout).splitlines()]

    def test_told(self) -> None:
        """What it asks is answered with the reason; there is no use in asking again."""
        os.write(self.relay.client_stdin, b'{"jsonrpc":"2.0","id":1,"method":"initialize"}\n')

        seconds = self.refused()

        data = {"reason": "upstream_unreachable", "upstream": "linear", "retryable": False}
        error = {"code": -32603, "message": "linear: there is no server linear", "data": {"mcpbridge": data}}
        self.assertEqual([{"jsonrpc": "2.0", "id": 1, "error": error}], self.heard())
        self.assertAlmostEqual(NEXT, seconds, 1)

    def test_silent(self) -> None:
        """One that asks nothing is not waited for long."""
        seconds = self.refused()

        self.assertEqual([], self.heard())
        self.assertAlmostEqual(FIRST, seconds, 1)

    def test_gone(self) -> None:
        """One that is gone is not waited for."""
        self.relay.close_stdin()

        self.assertEqual((0.0, []), (self.refused(), self.heard()))

    def test_terminal(self) -> None:
        """A human has read the reason."""
        self.patch(os, "isatty", lambda fd: True)

        self.assertEqual((0.0, ["finish"]), (self.refused(), self.relay.told))
