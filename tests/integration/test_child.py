"""
L{mcpbridge.upstream.child} and L{mcpbridge.service.reaper} with real processes.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from unittest import skipUnless

from msgspec import Raw
from twisted.internet import process as twisted_process
from twisted.internet import reactor as installed_reactor  # noqa: TID251  # the one that trial runs
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.runtime import platform
from twisted.trial.unittest import TestCase

import mcpbridge
from mcpbridge.core.errors import Fate, Loss, Reason, UpstreamUnavailable
from mcpbridge.core.jsonrpc import Message, Request, Result
from mcpbridge.service.reaper import Reaper
from mcpbridge.upstream.child import ChildTransport
from mcpbridge.upstream.childprocess import ChildLimits
from mcpbridge.upstream.command import Command, Launcher
from mcpbridge.upstream.lineage import Lineage, Marker
from mcpbridge.upstream.processes import ProcessTable, Running, adopts_orphans, become_subreaper
from tests.upstream.childworld import RecordingLink

reactor: Any = installed_reactor

#: Seconds within which everything here has to happen; generous, since machines that test are busy.
_PATIENCE = 20.0
_POLL = 0.01

#: What a server of these tests is made of. Methods name what it is to do.
_PRELUDE = """
import json, os, signal, subprocess, sys, time
def read():
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return json.loads(line)
def answer(request, result=None):
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result or {}}), flush=True)
"""

_ECHO = "while True: answer(read())"

#: The same for those who are in a hurry: it can answer one request.
_ECHO_IN_SHELL = Command(("sh", "-c", """read x; echo '{"jsonrpc":"2.0","id":1,"result":{}}'; read x"""))

#: A process that sleeps longer than any test takes, and what it has to be found by.
_SLEEPER = "[sys.executable, '-S', '-c', 'import time; time.sleep(300)']"


class Link(RecordingLink):
    """Answers can be waited for."""

    @property
    def answers(self) -> list[Message]:
        """The messages that came."""
        return [found[1] for found in self.told if found[0] == "received" and isinstance(found[1], Message)]

    @property
    def loss(self) -> Loss | None:
        """How the connection was lost."""
        losses = [found[1] for found in self.told if found[0] == "disconnected"]
        return losses[0] if losses and isinstance(losses[0], Loss) else None


@skipUnless(platform.isLinux(), "processes are found by /proc of Linux")
class Case(TestCase):
    """Real children, and nothing left of them."""

    timeout = 60

    def setUp(self) -> None:
        """A daemon's share of things."""
        self.state_dir = tempfile.mkdtemp(dir=os.getcwd())
        self.lineage = Lineage(self.state_dir)
        self.home = self.lineage.issue().home
        self.launcher = Launcher.find()
        self.link = Link()
        self.transports: list[ChildTransport] = []
        self.addCleanup(lambda: Deferred.fromCoroutine(self._end()))

    async def _end(self) -> None:
        """Everything ends, and nothing is left."""
        for transport in self.transports:
            await transport.disconnect()
        left = self.left()
        for process in left:
            os.kill(process.pid, signal.SIGKILL)
        self.assertEqual([], left)

    def left(self) -> list[Running]:
        """All processes that carry a marker of this test."""
        table = ProcessTable()
        return [
            found
            for found in table.mine()
            if not found.is_dead and (table.marker(found.pid) or "").startswith(self.home + ":")
        ]

    def make(self, script: str, limits: ChildLimits | None = None, cwd: str | None = None) -> ChildTransport:
        """A transport for a server with this text."""
        return self.run_(Command((sys.executable, "-S", "-u", "-c", _PRELUDE + script), {}, cwd), limits)

    def run_(self, command: Command, limits: ChildLimits | None = None) -> ChildTransport:
        """A transport for a command."""
        transport = ChildTransport(reactor, "real", command, self.lineage, self.launcher, os.environ, limits)
        self.transports.append(transport)
        return transport

    async def until(self, condition: Callable[[], object]) -> float:
        """
        Wait until something is so.

        @return: the seconds that it took.
        """
        start = time.monotonic()
        while not condition():
            if time.monotonic() - start > _PATIENCE:
                raise AssertionError(f"not within {_PATIENCE} s; told: {self.link.told!r}"[:2000])
            await deferLater(reactor, _POLL)
        return time.monotonic() - start

    async def timed(self, waiting: Deferred[None]) -> float:
        """How many seconds it takes."""
        start = time.monotonic()
        await waiting
        return time.monotonic() - start


def _all_told(links: Sequence[Link]) -> bool:
    return all(link.told for link in links)


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


class StartTests(Case):
    """How a real child begins."""

    _TELL = (
        "answer(read(), [sorted(os.environ), os.getcwd(), os.getsid(0) == os.getpid() == os.getpgid(0),"
        "[int(n) for n in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + n)],"
        "sys.argv[1:]])\n"
    )

    async def tell(self, launcher: Launcher, cwd: str | None) -> list[Any]:
        """What a child says of itself."""
        self.launcher = launcher
        transport = self.run_(
            Command((sys.executable, "-S", "-c", _PRELUDE + self._TELL, "a b", "$HOME;*", "-x"), {"MINE": "1"}, cwd)
        )
        self.link = Link()
        await transport.connect(self.link)
        transport.send(Request(1, "tell"))
        await self.until(lambda: self.link.answers)
        await transport.disconnect()
        answer = self.link.answers[0]
        assert isinstance(answer, Result)
        found: list[Any] = json.loads(bytes(answer.result))
        return found

    async def check(self, launcher: Launcher) -> None:
        """However it is launched, with and without a folder, the child finds itself in the same state."""
        self.patch(os, "environ", {"PATH": os.environ["PATH"], "HOME": "/", "ANTHROPIC_API_KEY": "sk", "LC_ALL": "C"})
        os.environ["MCPBRIDGE_SOCKET"] = "/x"
        extra = os.open("/dev/null", os.O_RDONLY)
        os.set_inheritable(extra, True)
        self.addCleanup(os.close, extra)
        folder = os.path.realpath(tempfile.mkdtemp(dir=os.getcwd()))

        here = await self.tell(launcher, None)
        there = await self.tell(launcher, folder)

        names = ["HOME", "LC_ALL", "MCPBRIDGE_INSTANCE", "MINE", "PATH"]
        expected = [names, os.getcwd(), True, [0, 1, 2], ["a b", "$HOME;*", "-x"]]
        self.assertEqual(expected, here)
        self.assertEqual([names, folder, *expected[2:]], there)

    def test_by_programs(self) -> Deferred[None]:
        """By setsid and env, where they are."""
        if None in (self.launcher.setsid, self.launcher.env):
            self.skipTest("this machine has no setsid, or no env that knows --chdir")
        return Deferred.fromCoroutine(self.check(self.launcher))

    def test_by_python(self) -> Deferred[None]:
        """By our own launcher, where they are not."""
        return Deferred.fromCoroutine(self.check(Launcher(None, None)))

    async def test_signals(self) -> None:
        """The child ignores no signal because we do, or the interpreter that launches it."""
        for launcher in (self.launcher, Launcher(None, None)):
            self.launcher, self.link = launcher, Link()
            transport = self.run_(Command(("sh", "-c", "grep SigIgn /proc/self/status >&2")))
            await transport.connect(self.link)

            await self.until(lambda: self.link.loss)

            # Above are the real-time signals, of which a C library may ignore some of its own.
            ignored = int(transport.stderr_tail()[0].split("t")[1], 16)
            self.assertEqual(0, ignored & 0x7FFFFFFF)

    async def test_program_that_cannot_run(self) -> None:
        """A script without an interpreter is found out by its exit, and the user can see why."""
        path = os.path.join(self.state_dir, "server")
        with open(path, "w") as script:
            script.write("#!/nonexistent/interpreter\n")
        os.chmod(path, 0o755)

        for launcher in (self.launcher, Launcher(None, None)):
            self.launcher, self.link = launcher, Link()
            await self.run_(Command((path,))).connect(self.link)
            await self.until(lambda: self.link.loss)

            assert self.link.loss is not None
            self.assertIn("No such file or directory", self.link.loss.text)

    async def test_no_such_program(self) -> None:
        """A program that is not there is told without a process."""
        with self.assertRaises(UpstreamUnavailable) as caught:
            await self.run_(Command(("/nonexistent/server",))).connect(self.link)

        self.assertEqual(
            'cannot start the server: the program "/nonexistent/server" does not exist', str(caught.exception)
        )

    async def test_does_not_hold_up_the_reactor(self) -> None:
        """To start a child takes little of our time, with and without a folder."""
        took = []
        for cwd in (None, "/", None, "/", None, "/"):
            transport = self.make(_ECHO, cwd=cwd)
            start = time.monotonic()
            await transport.connect(Link())
            took.append(time.monotonic() - start)

        self.assertLess(min(took), 0.05)


class EndTests(Case):
    """How a real child ends."""

    async def test_exit_codes(self) -> None:
        """Each way to end is told as what it was, after what was said before."""
        ways = {
            "sys.stderr.write('boom'); sys.exit(3)": "exited with status 3; its last words: boom",
            "sys.exit(0)": "exited with status 0",
            "os.kill(os.getpid(), signal.SIGKILL)": "was killed by SIGKILL",
            "os.abort()": "was killed by SIGABRT",
        }
        told = {}
        for way in ways:
            self.link = Link()
            transport = self.make("request = read(); answer(request);" + way)
            await transport.connect(self.link)
            transport.send(Request(1, "die"))
            await self.until(lambda: self.link.loss)
            told[way] = (len(self.link.answers), self.link.loss)

        self.assertEqual(
            {
                way: (1, Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, f"the server process {text}"))
                for way, text in ways.items()
            },
            told,
        )

    async def test_answers_before_the_crash(self) -> None:
        """A thousand answers right before a crash all arrive."""
        transport = self.make("for i in range(1000): answer({'id': i})\nos.kill(os.getpid(), 9)")
        await transport.connect(self.link)

        await self.until(lambda: self.link.loss)

        self.assertEqual(list(range(1000)), [answer.id for answer in self.link.answers if isinstance(answer, Result)])

    async def test_polite(self) -> None:
        """A child that ends with its input is waited for no longer than it takes."""
        transport = self.make(_ECHO, ChildLimits(after_eof=_PATIENCE))
        await transport.connect(self.link)
        transport.send(Request(1, "ping"))
        await self.until(lambda: self.link.answers)

        self.assertLess(await self.timed(transport.disconnect()), _PATIENCE / 2)

    async def test_ignores_everything(self) -> None:
        """A child that ignores the end of its input and SIGTERM is killed."""
        transport = self.make(
            "signal.signal(signal.SIGTERM, signal.SIG_IGN); answer(read())\nwhile True: time.sleep(1)",
            ChildLimits(after_eof=0.2, after_term=0.3),
        )
        await transport.connect(self.link)
        transport.send(Request(1, "ping"))
        await self.until(lambda: self.link.answers)
        pid = transport.pid

        took = await self.timed(transport.disconnect())

        self.assertGreater(took, 0.5)
        self.assertLess(took, 10)
        self.assertRaises(ProcessLookupError, os.kill, pid, 0)

    async def leave(self, script: str, after_term: float = 2.0) -> list[Running]:
        """
        Start a server that starts others, and end it.

        @return: those that it was, while it lived.
        """
        transport = self.make(script, ChildLimits(after_eof=0.1, after_term=after_term))
        await transport.connect(self.link)
        transport.send(Request(1, "go"))
        await self.until(lambda: self.link.answers)
        lived = self.left()
        await transport.disconnect()
        self.assertEqual([], self.left())
        return lived

    async def test_grandchild(self) -> None:
        """What the child started and left goes with it."""
        lived = await self.leave(f"r = read(); subprocess.Popen({_SLEEPER}); answer(r); read()")

        self.assertEqual(2, len(lived))

    async def test_grandchild_in_another_session(self) -> None:
        """It makes no difference if it left the session."""
        lived = await self.leave(
            f"r = read(); subprocess.Popen({_SLEEPER}, start_new_session=True, stdin=-3, stdout=-3, stderr=-3)\n"
            "answer(r); read()"
        )

        self.assertEqual(2, len(lived))

    async def test_daemon(self) -> None:
        """It makes no difference if it forked twice, so that its parent is another."""
        lived = await self.leave(
            "r = read()\n"
            "if not os.fork():\n"
            "    os.setsid()\n"
            "    if not os.fork():\n"
            f"        os.execv(sys.executable, {_SLEEPER})\n"
            "    os._exit(0)\n"
            "os.wait(); time.sleep(0.3); answer(r); read()"
        )

        self.assertEqual(2, len(lived))

    async def test_daemon_that_ignores_sigterm(self) -> None:
        """Nor if it ignores signals that can be."""
        lived = await self.leave(
            "r = read(); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            f"subprocess.Popen({_SLEEPER}, start_new_session=True)\n"
            "answer(r); read()",
            after_term=0.2,
        )

        self.assertEqual(2, len(lived))

    async def test_grandchild_without_environment(self) -> None:
        """Who wiped its environment is known by its session."""
        transport = self.make(
            f"r = read(); p = subprocess.Popen({_SLEEPER}, env={{}}); answer(r, {{'pid': p.pid}}); read()",
            ChildLimits(after_eof=0.1),
        )
        await transport.connect(self.link)
        transport.send(Request(1, "go"))
        await self.until(lambda: self.link.answers)
        answer = self.link.answers[0]
        assert isinstance(answer, Result)
        pid = int(bytes(answer.result).split(b":")[1].rstrip(b"}"))

        await transport.disconnect()

        await self.until(lambda: (found := ProcessTable().look(pid)) is None or found.is_dead)

    async def test_crash_with_grandchild(self) -> None:
        """A crash is told at once, though a grandchild holds the pipes; the grandchild is ended."""
        transport = self.make(
            f"r = read(); subprocess.Popen({_SLEEPER}); answer(r); os.kill(os.getpid(), 9)",
            ChildLimits(after_eof=0.1),
        )
        await transport.connect(self.link)
        transport.send(Request(1, "go"))

        await self.until(lambda: self.link.answers)
        took = await self.until(lambda: self.link.loss)
        await self.until(lambda: not self.left())

        self.assertLess(took, 5)

    async def test_killed_from_outside(self) -> None:
        """Somebody kills the child in the middle of a call: that is told at once."""
        transport = self.make("answer(read()); read(); time.sleep(300)")
        await transport.connect(self.link)
        transport.send(Request(1, "go"))
        await self.until(lambda: self.link.answers)
        transport.send(Request(2, "long"))
        os.kill(transport.pid, signal.SIGKILL)

        took = await self.until(lambda: self.link.loss)

        self.assertLess(took, 5)

    async def test_output_closed(self) -> None:
        """A child that closes its output and lives on is ended."""
        transport = self.make("os.close(1); os.close(0); time.sleep(300)", ChildLimits(after_eof=0.1))
        await transport.connect(self.link)

        await self.until(lambda: self.link.loss)
        await self.until(lambda: not self.left())

        assert self.link.loss is not None
        self.assertEqual("the server closed its standard output", self.link.loss.text)

    async def test_many_cycles(self) -> None:
        """Twenty starts and stops leave no process, no zombie and no descriptor."""
        await self.cycle()
        before = descriptors()

        for _ in range(20):
            await self.cycle()

        children = [child.pid for child in ProcessTable().children(os.getpid())]
        self.assertEqual((before, [], {}), (descriptors(), [pid for pid in self.pids if pid in children], self.known()))

    pids: Sequence[int] = ()

    async def cycle(self) -> None:
        """One start, one call, one stop."""
        self.link = Link()
        transport = self.make(_ECHO)
        await transport.connect(self.link)
        self.pids = [*self.pids, transport.pid]
        transport.send(Request(1, "ping"))
        await self.until(lambda: self.link.answers)
        await transport.disconnect()
        self.transports.clear()

    def known(self) -> dict[int, object]:
        """Children of these tests that Twisted still waits for."""
        return {pid: found for pid, found in twisted_process.reapProcessHandlers.items() if pid in self.pids}

    async def test_many_at_once(self) -> None:
        """Children that start in the moment when others end get their descriptors, and are not mixed up with them."""
        for _ in range(10):
            links = [Link() for _ in range(10)]
            transports = [self.run_(_ECHO_IN_SHELL) for _ in links]
            for transport, link in zip(transports, links, strict=True):
                await transport.connect(link)
                transport.send(Request(1, "ping"))
            await self.until(partial(_all_told, links))
            self.assertEqual([1] * 10, [len(link.answers) for link in links])
            await gatherResults([transport.disconnect() for transport in transports])
            self.transports.clear()

    async def test_stopped_while_it_starts(self) -> None:
        """A child may be ended before it could do anything at all."""
        for launcher in (self.launcher, Launcher(None, None)):
            self.launcher = launcher
            transport = self.make("time.sleep(300)", ChildLimits(after_eof=0.0, after_term=0.5))
            await transport.connect(self.link)

            self.assertLess(await self.timed(transport.disconnect()), 10)
            self.assertEqual([], self.left())


class FlowTests(Case):
    """Much at once."""

    async def peak_growth(self, script: str, condition: Callable[[], object], limits: ChildLimits) -> int:
        """By how many bytes this process grew at most while a child did what it does."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        transport = self.make(script, limits)
        await transport.connect(self.link)
        transport.send(Request(1, "go"))
        await self.until(condition)
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024

    async def test_10_mb(self) -> None:
        """A large answer arrives whole."""
        transport = self.make("r = read(); answer(r, {'text': 'x' * 10_000_000})")
        await transport.connect(self.link)
        transport.send(Request(1, "go"))

        await self.until(lambda: self.link.answers)

        answer = self.link.answers[0]
        assert isinstance(answer, Result)
        self.assertEqual(10_000_012, len(memoryview(answer.result)))

    async def test_100_mb(self) -> None:
        """A line far over the limit takes no memory, fails its own request, and the child goes on."""
        script = (
            "r = read()\n"
            'sys.stdout.write(\'{"result":"\')\n'
            "for _ in range(1600): sys.stdout.write('x' * 65536)\n"
            'sys.stdout.write(\'","jsonrpc":"2.0","id":1}\\n\')\n'
            "answer({'id': 2})\n"
            "read()"
        )

        growth = await self.peak_growth(script, lambda: self.link.answers, ChildLimits())

        self.assertEqual([("garbage", -32600, None, 1), "received"], [self.link.told[0], self.link.told[1][0]])
        self.assertLess(growth, 80_000_000)

    async def test_10_mb_to_the_child(self) -> None:
        """A large message reaches the child whole."""
        transport = self.make("r = read(); answer(r, {'size': len(r['params']['x'])})")
        await transport.connect(self.link)
        transport.send(Request(1, "go", Raw(b'{"x":"' + b"x" * 10_000_000 + b'"}')))

        await self.until(lambda: self.link.answers)

        answer = self.link.answers[0]
        assert isinstance(answer, Result)
        self.assertEqual(b'{"size": 10000000}', bytes(answer.result))

    async def test_nobody_reads(self) -> None:
        """While paused a child that floods is held by its full pipe; afterwards nothing is missing."""
        script = (
            "r = read()\n"
            "for i in range(20000): answer({'id': i}, {'text': 'x' * 200})\n"
            "print('done', file=sys.stderr)\n"
            "read()"
        )
        transport = self.make(script)
        transport.pause()
        await transport.connect(self.link)
        transport.send(Request(1, "go"))
        await deferLater(reactor, 0.5)
        held = (self.link.told, transport.stderr_tail())
        self.assertEqual(([], []), held)

        transport.resume()
        await self.until(lambda: len(self.link.told) == 20000)

        self.assertEqual(list(range(20000)), [answer.id for answer in self.link.answers if isinstance(answer, Result)])

    async def test_noise(self) -> None:
        """Whatever is printed between the messages, they arrive."""
        script = (
            "for i in range(100):\n"
            "    os.write(1, b'\\x1b[31m noise \\xff\\x00 %d\\r\\n\\n[info] x\\n{\"level\":1}\\n' % i)\n"
            "    answer({'id': i})\n"
            "read()"
        )
        await self.make(script).connect(self.link)

        await self.until(lambda: len(self.link.told) == 100)

        self.assertEqual(100, len(self.link.answers))

    async def test_stderr_flood(self) -> None:
        """A child that writes 50 MB to its standard error is neither held up nor does it cost memory."""
        script = "r = read()\nfor i in range(50_000): sys.stderr.write('x' * 1000 + '\\n')\nanswer(r); read()"

        growth = await self.peak_growth(script, lambda: self.link.answers, ChildLimits())

        self.assertEqual(50, len(self.transports[0].stderr_tail()))
        self.assertLess(growth, 30_000_000)

    async def test_two_at_once(self) -> None:
        """A child that floods its standard error does not keep another one waiting."""
        await self.make("while True: sys.stderr.write('x' * 100 + '\\n')").connect(Link())
        transport = self.make(_ECHO)
        await transport.connect(self.link)
        transport.send(Request(1, "ping"))
        await self.until(lambda: self.link.answers)

        took = []
        for number in range(2, 12):
            transport.send(Request(number, "ping"))
            took.append(await self.until(partial(self._has_answers, number)))

        self.assertLess(sorted(took)[5], 1)

    def _has_answers(self, count: int) -> bool:
        return len(self.link.answers) == count


class ReaperTests(Case):
    """Orphans, zombies, and what killed daemons leave."""

    def setUp(self) -> None:
        """Orphans come to us."""
        super().setUp()
        was_so = adopts_orphans()
        become_subreaper()
        if not was_so:
            # PR_SET_CHILD_SUBREAPER, so that other tests find things as they were.
            self.addCleanup(ctypes.CDLL(None).prctl, 36, 0, 0, 0, 0)
        if not adopts_orphans():
            self.skipTest("this kernel has no subreapers")
        self.reaper = Reaper(reactor, self.lineage)

    async def test_zombies(self) -> None:
        """Orphans that die are buried, and those that Twisted waits for are left to it."""
        self.reaper.startService()
        script = (
            "r = read()\n"
            "for _ in range(20):\n"
            "    if not os.fork():\n"
            "        if not os.fork(): time.sleep(0.1); os._exit(0)\n"
            "        os._exit(0)\n"
            "    os.wait()\n"
            "answer(r); read(); sys.exit(7)"
        )
        transport = self.make(script)
        await transport.connect(self.link)
        transport.send(Request(1, "go"))
        await self.until(lambda: self.link.answers)

        await self.until(lambda: [found.pid for found in self.left()] == [transport.pid])
        await self.until(lambda: not self.adopted())
        transport.send(Request(2, "go"))
        await self.until(lambda: self.link.loss)

        await self.reaper.stopService()
        assert self.link.loss is not None
        self.assertEqual("the server process exited with status 7", self.link.loss.text)

    def adopted(self) -> list[Running]:
        """Orphans that came to us, dead ones too."""
        return ProcessTable().adopted(frozenset(twisted_process.reapProcessHandlers))

    async def test_stop_ends_orphans(self) -> None:
        """What wiped its environment and left the session is still ended with the daemon."""
        script = (
            "r = read()\n"
            "if not os.fork():\n"
            "    os.setsid()\n"
            "    if not os.fork():\n"
            f"        os.execve(sys.executable, {_SLEEPER}, {{}})\n"
            "    os._exit(0)\n"
            "os.wait(); time.sleep(0.3); answer(r); read()"
        )
        self.reaper.startService()
        transport = self.make(script)
        await transport.connect(self.link)
        transport.send(Request(1, "go"))
        await self.until(lambda: self.link.answers)
        await transport.disconnect()
        before = [orphan for orphan in self.adopted() if not orphan.is_dead]

        ended = await self.reaper.stopService()

        self.assertEqual((1, 1, []), (len(before), ended, self.adopted()))

    async def test_strays(self) -> None:
        """An orphan whose connection is over is ended soon; one whose connection lives is not touched."""
        living, over = self.lineage.issue(), self.lineage.issue()
        self.lineage.retire(over)
        self.reaper.startService()
        kept, stray = await self.orphan(living), await self.orphan(over)

        await self.until(lambda: ProcessTable().look(stray) is None)

        self.assertTrue(self.lives(ProcessTable().look(kept)))
        self.assertEqual(1, await self.reaper.stopService())

    async def test_children_from_before(self) -> None:
        """Whoever was our child before we began is none of our business."""
        orphan = await self.orphan(self.lineage.issue())
        self.reaper.startService()

        ended = await self.reaper.stopService()

        self.assertEqual((0, True), (ended, self.lives(ProcessTable().look(orphan))))
        os.kill(orphan, signal.SIGKILL)
        os.waitpid(orphan, 0)

    async def orphan(self, marker: Marker, arguments: Sequence[str] = ()) -> int:
        """
        Let there be a process with this marker, in a session of its own, that came to us.

        @return: its id.
        """
        argv = [sys.executable, "-S", "-c", "import time; time.sleep(300)", *arguments]
        pid = os.fork()
        if not pid:
            os.setsid()
            if not os.fork():
                os.execve(sys.executable, argv, {"MCPBRIDGE_INSTANCE": str(marker)})
            os._exit(0)
        os.waitpid(pid, 0)
        found: list[Running] = []

        def is_there() -> bool:
            found[:] = [each for each in self.adopted() if ProcessTable().marker(each.pid) == str(marker)]
            return bool(found)

        await self.until(is_there)
        return found[0].pid

    async def test_sweep(self) -> None:
        """What a dead daemon with the same folder left is ended; what others did is not."""
        dead = await self.orphan(Marker(self.home, 2**22 + 1, 5, 1))
        foreign = await self.orphan(Marker("0123456789abcdef", 2**22 + 1, 5, 1))
        living = await self.orphan(self.lineage.issue())
        relay = await self.orphan(Marker(self.home, 2**22 + 1, 5, 2), ["-m", "mcpbridge.stdio"])

        ended = await self.reaper.sweep()

        table = ProcessTable()
        self.assertEqual(
            (1, [False, True, True, True]),
            (ended, [self.lives(table.look(pid)) for pid in (dead, foreign, living, relay)]),
        )
        for pid in (foreign, living, relay):
            os.kill(pid, signal.SIGKILL)
        await self.until(lambda: table.reap(()) is None or not self.adopted())

    @staticmethod
    def lives(process: Running | None) -> bool:
        """Whether it does."""
        return process is not None and not process.is_dead

    async def test_killed_daemon(self) -> None:
        """A daemon is killed with kill -9; the next one ends the children that it left, whatever they ignore."""
        daemon = os.path.join(self.state_dir, "daemon.py")
        with open(daemon, "w") as script:
            script.write(_DAEMON)
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        null = os.open(os.devnull, os.O_RDWR)
        self.addCleanup(os.close, null)
        reactor.spawnProcess(
            ProcessProtocol(),
            sys.executable,
            [sys.executable, daemon, self.state_dir],
            {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(os.path.abspath(mcpbridge.__file__)))},
            childFDs={0: null, 1: write, 2: null},
        )
        os.close(write)
        await self.until(lambda: select.select([read], [], [], 0)[0])
        pid = int(os.read(read, 20))
        self.assertEqual(2, len(self.left()))
        os.kill(pid, signal.SIGKILL)

        await self.until(lambda: not self.lives(ProcessTable().look(pid)))
        ended = await self.reaper.sweep()

        self.assertEqual((2, []), (ended, self.left()))


#: A daemon with a child that ignores signals, and a grandchild that left the session. Says its pid when both are there.
_DAEMON = f"""
import os, sys
from twisted.internet import reactor
from mcpbridge.core.jsonrpc import Request
from mcpbridge.upstream.child import ChildTransport
from mcpbridge.upstream.command import Command, Launcher
from mcpbridge.upstream.lineage import Lineage
from tests.upstream.childworld import RecordingLink

class Link(RecordingLink):
    def received(self, message, within):
        os.write(1, b"%d" % os.getpid())

server = {_PRELUDE!r} + '''
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
r = read()
subprocess.Popen({_SLEEPER}, start_new_session=True)
answer(r)
time.sleep(300)
'''
command = Command((sys.executable, "-S", "-c", server))
transport = ChildTransport(reactor, "left", command, Lineage(sys.argv[1]), Launcher.find(), os.environ)
transport.connect(Link())
transport.send(Request(1, "go"))
reactor.run()
"""
