"""
Tests for L{mcpbridge.core.eras.modern.client}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.core.errors import ErrorObject, Reason
from mcpbridge.core.events import (
    Called,
    Cancelled,
    Completed,
    Envelope,
    Failed,
    InputProgressed,
    InputWithdrawn,
    LevelSet,
    Logged,
    Lost,
    Native,
    Notified,
    Opened,
    Progressed,
    RootsChanged,
)
from mcpbridge.core.interfaces import IClientPeer
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Request, Result
from tests.core.eras.modern.asking import ARGUMENTS, FORMED, LOSS, asks, called, read
from tests.core.eras.modern.rigs import DONE, VERSION, Server, discover, meta, raw

COMPLETE = raw("complete")


class OpeningTests(SynchronousTestCase):
    """What the server is, is asked first."""

    def test_interface(self) -> None:
        """It provides its door."""
        self.assertTrue(verifyObject(IClientPeer, Server().peer))

    def test_discover(self) -> None:
        """The client's own name and capabilities; the answer is shaped as in the other era."""
        server = Server(False)

        asked = server.said()
        server.answers(1, {**discover(tools={}), "instructions": "be nice"})

        expected = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": meta()}}
        opening = {
            "capabilities": {"tools": {}},
            "instructions": "be nice",
            "serverInfo": {"name": "m", "version": "3"},
            "protocolVersion": VERSION,
        }
        self.assertEqual([expected], asked)
        (completed,) = server.crossed()
        assert isinstance(completed, Completed)
        self.assertEqual(opening, read(completed.result))

    def test_nameless(self) -> None:
        """A server that does not say who it is, is called what the user calls it; a client gets no name."""
        server = Server(False)
        server.sends(Opened(9, VERSION, {"capabilities": raw({"roots": {"listChanged": True}})}))

        asked = server.said()[-1]
        server.answers(2, {"supportedVersions": [VERSION], "capabilities": {}})

        (completed,) = server.crossed()
        assert isinstance(completed, Completed)
        self.assertEqual({"name": "up", "version": "unknown"}, read(completed.result)["serverInfo"])
        self.assertNotIn("io.modelcontextprotocol/clientInfo", asked["params"]["_meta"])
        said = asked["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]
        self.assertEqual({"roots": {}}, said)

    def test_no_answer_at_all(self) -> None:
        """What is no discovery is a broken answer, whatever it is; the opening ends."""
        versions = {"supportedVersions": [VERSION]}
        answers: tuple[Any, ...] = ({}, {"supportedVersions": 5}, {**versions, "capabilities": []}, [], 5)
        for answer in answers:
            server = Server(False)

            server.answers(1, answer)

            (lost,) = server.crossed()
            assert isinstance(lost, Lost)
            self.assertEqual(Reason.MALFORMED, lost.loss.reason)

    def test_odd_capabilities(self) -> None:
        """A capability that is no object announces nothing."""
        server = Server(False)

        server.answers(1, discover(tools=5, prompts={"listChanged": 1}))

        self.assertEqual([Completed], [type(event) for event in server.crossed()])
        self.assertEqual(1, len(server.said()))

    def test_no_shared_revision(self) -> None:
        """That is the error which says so."""
        server = Server(False)

        server.answers(1, {**discover(), "supportedVersions": ["2025-11-25"]})

        (failed,) = server.crossed()
        assert isinstance(failed, Failed)
        self.assertEqual((-32022, ["2025-11-25"]), (failed.error.code, read(failed.error.data)["supported"]))


class CallTests(SynchronousTestCase):
    """Requests and their answers."""

    def test_call(self) -> None:
        """The client is named on each request; foreign keys stay; the result comes without its envelope."""
        server = Server()

        server.sends(called(params={**ARGUMENTS, "_meta": {"traceparent": "00-1"}}))
        server.answers(2, {**DONE, "resultType": "complete", "ttlMs": 5, "_meta": {"k": 1}})

        (said,) = server.said()
        self.assertEqual((2, {**ARGUMENTS, "_meta": meta(traceparent="00-1")}), (said["id"], said["params"]))
        expected = Completed(5, raw({**DONE, "_meta": {"k": 1}}), Envelope(COMPLETE, raw(5)))
        self.assertEqual([expected], server.crossed())

    def test_broken_meta(self) -> None:
        """A client's C{_meta} that is no object does not keep its call from the server."""
        server = Server()

        server.sends(called(params={**ARGUMENTS, "_meta": 5}))

        self.assertEqual(meta(), server.said()[0]["params"]["_meta"])

    def test_no_result_type(self) -> None:
        """A result without a kind is complete; one of an unknown kind is none."""
        server = Server()
        server.sends(called(), called(6), called(7))

        server.answers(2, DONE)
        server.answers(3, {**DONE, "resultType": "other"})
        server.answers(4, {**DONE, "resultType": 5})

        self.assertEqual([Completed, Lost, Lost], [type(event) for event in server.crossed()])

    def test_task(self) -> None:
        """A call may be answered with a task, and nothing else may."""
        server = Server()
        server.sends(called(), Called(6, "prompts/get", raw({"name": "x"})))

        server.answers(2, {"taskId": "t", "resultType": "task"})
        server.answers(3, {"taskId": "t", "resultType": "task"})

        done, lost = server.crossed()
        self.assertEqual(Completed(5, raw({"taskId": "t"}), Envelope(raw("task"))), done)
        self.assertIsInstance(lost, Lost)

    def test_native_kinds(self) -> None:
        """To a client of the era every kind passes: it is for the client to judge."""
        server = Server()
        server.sends(called(native=Native()), called(6, native=Native("info")))

        server.answers(2, {"taskId": "x", "resultType": "task"})
        server.answers(3, asks(q=FORMED))

        first, second = server.crossed()
        said = server.said()
        self.assertEqual(Completed(5, raw({"taskId": "x"}), Envelope(raw("task"))), first)
        assert isinstance(second, Completed)
        self.assertEqual(raw("input_required"), second.envelope and second.envelope.kind)
        self.assertNotIn("io.modelcontextprotocol/logLevel", said[0]["params"]["_meta"])
        self.assertEqual("info", said[1]["params"]["_meta"]["io.modelcontextprotocol/logLevel"])

    def test_log_level(self) -> None:
        """A client of the other era has set its level once; it goes with each request."""
        server = Server()

        server.sends(LevelSet(4, "error"), called())

        self.assertEqual([Completed(4, raw({}))], server.crossed())
        self.assertEqual("error", server.said()[0]["params"]["_meta"]["io.modelcontextprotocol/logLevel"])

    def test_progress(self) -> None:
        """Under a token of ours; for what is open only."""
        server = Server()
        server.sends(called(wants_progress=True))

        server.notes("notifications/progress", {"progressToken": 2, "progress": 1, "message": "m"})
        server.notes("notifications/progress", {"progressToken": "2", "progress": 1})
        server.notes("notifications/progress", {"progress": 1})
        server.notes("notifications/progress", None)

        self.assertEqual(2, server.said()[0]["params"]["_meta"]["progressToken"])
        self.assertEqual([Progressed(5, {"progress": raw(1), "message": raw("m")})], server.crossed())

    def test_notifications(self) -> None:
        """Log messages and what is unknown belong to the request on whose stream they came."""
        server = Server()
        server.sends(called())
        tag = "io.modelcontextprotocol/subscriptionId"

        server.notes("notifications/message", {"level": "info"}, within=2)
        server.notes("notifications/message", {"level": "info"})
        server.notes("x/note", {"_meta": {tag: 1}})

        info = raw({"level": "info"})
        self.assertEqual([Logged(5, info), Logged(None, info), Notified(None, "x/note", None)], server.crossed())

    def test_requests_of_the_server(self) -> None:
        """There are none in this era."""
        server = Server()

        server.says(Request(7, "ping"))

        self.assertEqual([(7, -32600)], [(said["id"], said["error"]["code"]) for said in server.said()])

    def test_errors(self) -> None:
        """An error ends its call; one without id that of the stream it came on."""
        server = Server()
        server.sends(called(), called(6))
        error = ErrorObject(-5, "no")

        server.says(Error(2, error))
        server.says(Error(None, error), 3)
        server.says(Error(99, error))
        server.says(Error(None, error))

        self.assertEqual([Failed(5, error), Failed(6, error)], server.crossed())

    def test_garbage(self) -> None:
        """A broken answer ends what it meant to answer."""
        server = Server()
        server.sends(called())

        server.do(server.peer.receive_garbage(InvalidMessage(-32700, "?")))
        server.do(server.peer.receive_garbage(InvalidMessage(-32600, "?", response_id=2)))
        server.says(Result(2, raw(DONE)))

        self.assertEqual([Lost], [type(event) for event in server.crossed()])

    def test_cancel(self) -> None:
        """The server is told, and its answer not waited for; once."""
        server = Server()
        server.sends(called())
        server.said()

        server.sends(Cancelled(5, "no"), Cancelled(5), Cancelled(77))
        server.answers(2, DONE)

        (said,) = server.said()
        self.assertEqual({"requestId": 2, "reason": "no"}, said["params"])
        self.assertEqual(([2], [], False), (server.abandoned, server.crossed(), server.peer.busy()))

    def test_without_words(self) -> None:
        """Unknown notifications pass; what the era has no words for is not said."""
        server = Server()

        server.sends(RootsChanged(), InputProgressed("k", {}), Notified(None, "x/note", raw({"a": 1})))

        self.assertEqual(["x/note"], [said["method"] for said in server.said()])

    def test_lost(self) -> None:
        """A stream that breaks loses its request; the channel loses all."""
        server = Server()
        server.sends(called(), called(6), called(7))
        server.answers(4, asks(q=FORMED))
        server.crossed()

        server.do(server.peer.lost(2, LOSS))
        server.do(server.peer.close(LOSS))

        first, second, withdrawn, third = server.crossed()
        self.assertEqual([Lost(5, LOSS), Lost(6, LOSS), Lost(7, LOSS)], [first, second, third])
        self.assertEqual((InputWithdrawn, False), (type(withdrawn), server.peer.busy()))

    def test_forget(self) -> None:
        """What is forgotten is not heard."""
        server = Server()
        server.sends(called())

        server.peer.forget(5)
        server.answers(2, DONE)

        self.assertEqual(([], False), (server.crossed(), server.peer.busy()))
