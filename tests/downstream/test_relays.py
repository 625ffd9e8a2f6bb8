"""Tests for L{mcpbridge.downstream.relays}."""

from __future__ import annotations

import json
import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IFileDescriptorReceiver
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.core.errors import ConfigurationError
from mcpbridge.core.jsonrpc import Request, Result, encode, value
from mcpbridge.downstream import relays
from mcpbridge.downstream.pipes import PipeTransport
from mcpbridge.downstream.relays import CONTROL_DEADLINE, HELLO_DEADLINE, MAX_HELLO, Hello, RelayFactory, RelayProtocol
from tests.downstream.manual import ManualReactor, Notes, drained, memory_file

HELLO = Hello("linear", "/home/me", 42)


def line(hello: Hello) -> bytes:
    """As a relay says it."""
    return b"MCPBRIDGE/1 %s %s %d\n" % (
        hello.server.encode().hex().encode(),
        hello.cwd.encode().hex().encode(),
        hello.pid,
    )


class Relay:
    """A relay, as far as the daemon sees it."""

    def __init__(self, case: RelaysTests) -> None:
        self.transport = StringTransport()
        self.protocol = case.factory.buildProtocol(None)
        self.stdin, self.its_stdin = _pipe(case)[::-1]
        self.its_stdout, self.stdout = _pipe(case)[::-1]
        self.memory = memory_file()
        case.addCleanup(os.close, self.memory)
        self.protocol.makeConnection(self.transport)

    def says(self, data: bytes, *descriptors: int) -> bytes:
        """It says something, and hears something."""
        for fd in descriptors:
            self.protocol.fileDescriptorReceived(os.dup(fd))
        self.protocol.dataReceived(data)
        return self.hears()

    def hello(self, hello: Hello = HELLO) -> bytes:
        """As it should be."""
        return self.says(line(hello), self.its_stdin, self.its_stdout, self.memory)

    def hears(self) -> bytes:
        """Since last time."""
        found: bytes = self.transport.value()
        self.transport.clear()
        return found

    def hangs_up(self) -> None:
        """It is gone."""
        self.protocol.connectionLost()

    @property
    def ended(self) -> bool:
        """Whether we want it to be gone."""
        return self.transport.disconnecting or self.transport.disconnected


def _pipe(case: RelaysTests) -> tuple[int, int]:
    ends = os.pipe()
    for fd in ends:
        case.addCleanup(os.close, fd)
    return ends


class RelaysTests(SynchronousTestCase):
    """Relays come in."""

    def setUp(self) -> None:
        """A factory that takes everybody."""
        self.reactor = ManualReactor()
        self.attached: list[tuple[Hello, PipeTransport]] = []
        self.link = Notes()
        self.asked: list[str] = []
        self.answer: Deferred[str] = succeed('{"clients":0}')
        self.factory = RelayFactory(self.reactor, self.attach, self.control)
        self.addCleanup(self.end)

    def attach(self, hello: Hello, transport: PipeTransport) -> None:
        """A client."""
        if hello.server == "unknown":
            raise ConfigurationError("unknown: no such server;\ndid you mean \x1b[1mlinear?")
        if hello.server == "bug":
            raise RuntimeError("a bug")
        self.attached.append((hello, transport))
        transport.connect(self.link)

    def control(self, line: str) -> Deferred[str]:
        """An operator."""
        self.asked.append(line)
        if line == "bug":
            raise RuntimeError("a bug")
        return self.answer

    def end(self) -> None:
        """Nothing is left open."""
        for protocol in tuple(self.factory.protocols):
            protocol.connectionLost()

    def relay(self) -> Relay:
        """One that has just connected."""
        return Relay(self)

    def open_descriptors(self) -> int:
        """How many we have."""
        return len(os.listdir("/proc/self/fd"))

    def test_interface(self) -> None:
        """It takes descriptors."""
        verifyObject(IFileDescriptorReceiver, self.relay().protocol)

    def test_attached(self) -> None:
        """A relay that says hello gets its client served."""
        relay = self.relay()

        said = relay.hello()
        os.write(relay.stdin, encode(Request(1, "echo")) + b"\n")
        self.reactor.settle()
        ((hello, transport),) = self.attached
        transport.send(Result(1, value({})))

        self.assertEqual((b"ok\n", HELLO), (said, hello))
        self.assertEqual([("received", Request(1, "echo"))], self.link.told)
        self.assertEqual({"jsonrpc": "2.0", "id": 1, "result": {}}, json.loads(drained(relay.stdout)))
        self.assertEqual(frozenset([transport]), self.factory.transports)

    def test_in_pieces(self) -> None:
        """The line may come in pieces."""
        relay = self.relay()

        said = [relay.says(line(HELLO)[:20], relay.its_stdin, relay.its_stdout, relay.memory)]
        said.append(relay.says(line(HELLO)[20:]))

        self.assertEqual([b"", b"ok\n"], said)

    def test_odd_words(self) -> None:
        """Any name and any directory come through, and so does none."""
        for hello in (Hello("https://x.example/mcp?q=ü", "/tmp/a b\nc", 1), Hello("a b", "", 2)):
            self.relay().hello(hello)

        self.assertEqual(
            [Hello("https://x.example/mcp?q=ü", "/tmp/a b\nc", 1), Hello("a b", "", 2)],
            [hello for hello, _ in self.attached],
        )

    def test_refused(self) -> None:
        """Why a client cannot be served is said in one line that is fit to print, and nothing stays open."""
        before = self.open_descriptors()
        relay = self.relay()
        opened = self.open_descriptors() - before

        said = relay.hello(Hello("unknown", "", 1))

        self.assertEqual(b"no unknown: no such server;\\ndid you mean \\x1b[1mlinear?\n", said)
        self.assertEqual((True, opened), (relay.ended, self.open_descriptors() - before))

    def test_bug(self) -> None:
        """When attaching fails the relay is told, and nothing stays open."""
        relay = self.relay()
        before = self.open_descriptors()

        said = relay.hello(Hello("bug", "", 1))

        self.assertEqual(b"no mcpbridge failed at attaching this client; its log says more\n", said)
        self.assertEqual((1, before), (len(self.flushLoggedErrors(RuntimeError)), self.open_descriptors()))

    def test_wrong_descriptors(self) -> None:
        """Fewer or more descriptors, or other ones, are refused and closed."""
        with open(os.devnull, "rb") as nothing:
            relay = self.relay()
            good = relay.its_stdin, relay.its_stdout, relay.memory
            for wrong in ((), good[:2], (*good[:2], good[0]), (nothing.fileno(), *good[1:]), (good[2], *good[1:])):
                relay = self.relay()
                before = self.open_descriptors()

                said = relay.says(line(HELLO), *wrong)

                self.assertEqual((b"no ", True, before), (said[:3], relay.ended, self.open_descriptors()))

    def test_too_many_descriptors(self) -> None:
        """Who sends more and more of them is cut off."""
        relay = self.relay()
        before = self.open_descriptors()
        for _ in range(10):
            relay.protocol.fileDescriptorReceived(os.dup(relay.memory))

        self.assertEqual((True, before), (relay.ended, self.open_descriptors()))

    def test_descriptors_are_not_inherited(self) -> None:
        """No child of the daemon gets a client's descriptors."""
        relay = self.relay()
        fd = os.dup(relay.memory)
        os.set_inheritable(fd, True)

        relay.protocol.fileDescriptorReceived(fd)

        self.assertFalse(os.get_inheritable(fd))

    def test_wrong_hello(self) -> None:
        """Other words are refused."""
        for wrong in (
            b"GET / HTTP/1.1\r\n",
            b"MCPBRIDGE/2 61 61 1\n",
            b"MCPBRIDGE/1 61 61\n",
            b"MCPBRIDGE/1 6x 61 1\n",
            b"MCPBRIDGE/1 ff 61 1\n",
            b"MCPBRIDGE/1 61 61 x\n",
            b"MCPBRIDGE/1 61 61 1 \n",
            b"\n",
            line(HELLO) + b"more",
        ):
            relay = self.relay()

            said = relay.says(wrong, relay.its_stdin, relay.its_stdout, relay.memory)

            self.assertEqual(
                (b"no this is not how a relay of this version says hello\n", True), (said, relay.ended), wrong
            )

    def test_endless_hello(self) -> None:
        """So is a line without an end."""
        relay = self.relay()

        said = relay.says(b"MCPBRIDGE/1 " + b"6" * MAX_HELLO)

        self.assertEqual((b"no ", True), (said[:3], relay.ended))

    @settings(max_examples=100, derandomize=True, deadline=None)
    @given(st.binary(max_size=200))
    def test_any_hello(self, data: bytes) -> None:
        """Whatever is said, nobody is attached by accident, and nothing is raised."""
        relay = self.relay()

        relay.says(data)
        relay.hangs_up()

        self.assertEqual([], self.attached)

    def test_silence(self) -> None:
        """Who says nothing is cut off."""
        relay = self.relay()

        self.reactor.advance(HELLO_DEADLINE)

        self.assertTrue(relay.ended)

    def test_chatter(self) -> None:
        """So is who goes on talking."""
        relay = self.relay()
        relay.hello()

        relay.says(b"hello?")

        self.assertTrue(relay.ended)

    def test_other_user(self) -> None:
        """So is another user; root is welcome."""
        found = []
        for uid in (os.getuid() + 1, 0, os.getuid()):
            self.patch(relays, "_peer_uid", lambda transport, uid=uid: uid)
            found.append(self.relay().ended)

        self.assertEqual([True, False, False], found)

    def test_gone_already(self) -> None:
        """A relay that has hung up before we looked is not attached: its client may have another daemon by now."""
        self.patch(relays, "_hung_up", lambda transport: True)
        relay = self.relay()

        relay.hello()

        self.assertEqual(([], True), (self.attached, relay.ended))

    def test_relay_ends(self) -> None:
        """When the relay is gone, so is its client."""
        relay = self.relay()
        before = self.open_descriptors()
        relay.hello()

        relay.hangs_up()

        self.assertEqual([("disconnected", "the client is gone: its relay has ended")], self.link.told)
        self.assertEqual((frozenset(), before), (self.factory.transports, self.open_descriptors()))

    def test_client_ends(self) -> None:
        """When the client has said its last word, the relay is told."""
        relay = self.relay()
        relay.hello()
        self.reactor.settle()

        os.dup2(os.open(os.devnull, os.O_RDONLY), self.attached[0][1]._stdin)
        self.attached[0][1].doRead()

        self.assertEqual((b"ok\nbye\n"[3:], True), (relay.hears(), relay.ended))

    def test_disconnected_by_us(self) -> None:
        """When the owner has had enough of the client, the relay ends too."""
        relay = self.relay()
        relay.hello()

        self.attached[0][1].disconnect()

        self.assertEqual((b"bye\n", True), (relay.hears(), relay.ended))

    def test_planned_stop(self) -> None:
        """Before a stop relays are told; when their clients are let go, they hear no C{bye}."""
        relay = self.relay()
        relay.hello()

        self.factory.stopping()
        self.factory.stopping()
        said = relay.hears()
        closed = self.factory.closed()
        self.attached[0][1].disconnect()
        self.assertEqual(b"", relay.hears())
        relay.hangs_up()

        self.assertEqual(b"stopping\n", said)
        self.successResultOf(closed)

    def test_client_ends_during_a_stop(self) -> None:
        """But a client that has said its last word is done with."""
        relay = self.relay()
        relay.hello()
        self.reactor.settle()
        self.factory.stopping()
        relay.hears()

        os.dup2(os.open(os.devnull, os.O_RDONLY), self.attached[0][1]._stdin)
        self.attached[0][1].doRead()

        self.assertEqual(b"bye\n", relay.hears())

    def test_too_late(self) -> None:
        """Who comes after that waits for the next daemon."""
        self.factory.stopping()
        relay = self.relay()

        said = relay.hello()

        self.assertEqual((b"stopping\n", True, []), (said, relay.ended, self.attached))
        self.successResultOf(self.factory.closed())

    def test_control(self) -> None:
        """An operator's line is passed on, and its answer back."""
        relay = self.relay()

        said = relay.says(b"CONTROL/1 status --json\n")

        self.assertEqual((["status --json"], b'{"clients":0}\n', True), (self.asked, said, relay.ended))

    def test_control_with_descriptors(self) -> None:
        """An operator has none to give."""
        relay = self.relay()
        before = self.open_descriptors()

        relay.says(b"CONTROL/1 status\n", relay.memory)

        self.assertEqual(before, self.open_descriptors())

    def test_control_later(self) -> None:
        """The answer may take a while."""
        self.answer = Deferred()
        relay = self.relay()

        said = [relay.says(b"CONTROL/1 stop\n")]
        self.answer.callback("{}")

        self.assertEqual([b"", b"{}\n"], [*said, relay.hears()])

    def test_control_fails(self) -> None:
        """When it fails the connection ends, and the log says why."""
        self.answer = fail(RuntimeError("a bug"))

        found = [self.relay() for _ in range(2)]
        said = [found[0].says(b"CONTROL/1 status\n"), found[1].says(b"CONTROL/1 bug\n")]

        self.assertEqual(([b"", b""], [True, True]), (said, [relay.ended for relay in found]))
        self.assertEqual(2, len(self.flushLoggedErrors(RuntimeError)))

    def test_control_deadline(self) -> None:
        """There is an end to waiting."""
        self.answer = Deferred()
        relay = self.relay()
        relay.says(b"CONTROL/1 status\n")

        self.reactor.advance(CONTROL_DEADLINE)

        self.assertTrue(relay.ended)
        self.flushLoggedErrors()

    def test_control_abandoned(self) -> None:
        """An operator who goes away is not worked for any more."""
        cancelled: list[Any] = []
        self.answer = Deferred(cancelled.append)
        relay = self.relay()
        relay.says(b"CONTROL/1 status\n")

        relay.hangs_up()

        self.assertEqual(1, len(cancelled))
        self.flushLoggedErrors()

    def test_no_control(self) -> None:
        """Where nobody takes commands, that is said."""
        self.factory.control = None

        self.assertEqual(b"no this daemon takes no commands\n", self.relay().says(b"CONTROL/1 status\n"))

    def test_protocols(self) -> None:
        """It knows the connections that there are."""
        relay = self.relay()
        before = list(self.factory.protocols)

        relay.hangs_up()

        self.assertEqual(([relay.protocol], set()), (before, self.factory.protocols))
        self.assertIsInstance(relay.protocol, RelayProtocol)
