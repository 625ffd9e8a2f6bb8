"""
C{kill -9} at any moment of a registration, a login, a refresh: nothing is lost that had been had.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from typing import Any

from twisted.internet import reactor as global_reactor  # noqa: TID251 - a test of the real thing
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.authorization_server import Model, serve

reactor: Any = global_reactor

#: How often: what happens once in a hundred times is to be seen.
_KILLS = 210

#: Kills with one folder; then a new user begins.
_PER_FOLDER = 15


class _Mortal(ProcessProtocol):
    def __init__(self) -> None:
        self.words: DeferredQueue[str] = DeferredQueue()
        self.complaints = b""
        self.ended: Deferred[None] = Deferred()
        self._rest = b""

    def outReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.words.put(line.decode())

    def errReceived(self, data: bytes) -> None:
        self.complaints = (self.complaints + data)[-4000:]

    def processEnded(self, reason: Failure) -> None:
        self.words.put("gone")
        self.ended.callback(None)
        reason.trap(ProcessDone)


class KilledTests(TestCase):
    """Many deaths."""

    timeout = 240

    def _begin(self) -> _Mortal:
        mortal = _Mortal()
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        reactor.spawnProcess(mortal, sys.executable, [sys.executable, "-m", "tests.integration.mortal"], environment)
        return mortal

    async def test_killed(self) -> None:
        """The store always opens, the newest tokens are in it, and who was logged in stays so."""
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)
        model = Model(now=time.time, lifetime=0.2)
        port = serve(reactor, model)
        mortal = self._begin()
        said: list[str] = []
        try:
            for number in range(_KILLS):
                if number % _PER_FOLDER == 0:
                    folder, known = os.path.abspath(self.mktemp()), False
                known = await self._live_and_die(mortal, model, folder, known, chance, said)
                if number % _PER_FOLDER == _PER_FOLDER - 1:
                    shutil.rmtree(folder)
        finally:
            assert mortal.transport is not None
            mortal.transport.closeStdin()
            await mortal.ended
            await port.stopListening()

        counts = {word: said.count(word) for word in ("asked to log in", "logged in", "called")}
        self.assertEqual(
            [], [word for word in said if word.startswith(("broke", "failed", "http", "asked to log in again"))]
        )
        self.assertEqual((0, True), (model.seen["reuse"], counts["called"] > _KILLS), (seed, counts, mortal.complaints))
        self.assertGreaterEqual(counts["logged in"], _KILLS // _PER_FOLDER)

    async def _live_and_die(
        self, mortal: _Mortal, model: Model, folder: str, known: bool, chance: random.Random, said: list[str]
    ) -> bool:
        """One life; whether the folder is logged in by its end."""
        assert mortal.transport is not None
        mortal.transport.write(f"{folder} {model.upstream}\n".encode())
        pid = int((await self._word(mortal)).split()[1])
        # Until its first word, and then some: the deaths fall on all that it does.
        killing = deferLater(reactor, chance.uniform(0.02, 0.45), os.kill, pid, signal.SIGKILL)
        while (word := await self._word(mortal)) != "ended":
            said.append(word)
            if known and word.startswith("asked"):
                self.fail(f"it was logged in, and has to log in again: {said[-10:]}, {mortal.complaints!r}")
            known = known or word in ("logged in", "called")
        await killing
        return known

    async def _word(self, mortal: _Mortal) -> str:
        word = await mortal.words.get().addTimeout(30, reactor)
        self.assertNotEqual("gone", word, mortal.complaints)
        return str(word)
