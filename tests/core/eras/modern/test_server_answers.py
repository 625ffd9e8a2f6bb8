"""
Tests for L{mcpbridge.core.eras.modern.server}: what it answers.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.events import Called, Completed, Envelope, Failed, Native, Opened, Ready
from mcpbridge.core.jsonrpc import Result
from tests.core.eras.modern.rigs import DONE, MODERN, OPENING, SERVER, Client, raw

CALL = Called(102, "tools/call", raw({"name": "t", "arguments": {"a": 1}}), False, Native())


class AnswerTests(SynchronousTestCase):
    """The answers of calls, in the envelope of the era."""

    def test_result(self) -> None:
        """A neutral result is complete and says who answers."""
        client = Client()
        client.calls(1)

        client.told(Completed(102, raw(DONE)))

        self.assertEqual([CALL], client.crossed())
        self.assertEqual({**DONE, "resultType": "complete", "_meta": SERVER}, client.said()[0]["result"])
        self.assertTrue(client.peer.idle())

    def test_bytes(self) -> None:
        """What is in a result is not touched: big numbers, order, white space."""
        client = Client()
        client.calls(1)

        client.told(Completed(102, Raw(b'{"content":[],"b":1e400,  "a":[12345678901234567890123]}')))

        (emitted,) = client.emitted
        assert isinstance(emitted, Result)
        self.assertIn(b'"b":1e400,"a":[12345678901234567890123]', bytes(emitted.result))

    def test_fresh_list(self) -> None:
        """How long a list is good passes when it comes from the server; from memory it is good for nothing."""
        client = Client()
        client.asks(1, "tools/list")
        client.asks(2, "tools/list")
        client.asks(3, "tools/list")
        complete = raw("complete")

        client.told(Completed(102, raw({"tools": []}), Envelope(complete, raw(5000), raw("public"))))
        client.told(Completed(103, raw({"tools": []})))
        client.told(Completed(104, raw({"tools": []}), Envelope(complete, raw(-1), raw("everybody"))))

        said = [(each["result"]["ttlMs"], each["result"]["cacheScope"]) for each in client.said()]
        self.assertEqual([(5000, "public"), (0, "private"), (0, "private")], said)

    def test_broken_meta(self) -> None:
        """A server's C{_meta} that is no object does not keep the client from its answer."""
        client = Client()
        client.calls(1)
        client.calls(2)

        client.told(Completed(102, raw({**DONE, "_meta": 5})))
        client.told(Failed(103, ErrorObject(-1, "no")))

        first, second = client.said()
        self.assertEqual((SERVER, -1), (first["result"]["_meta"], second["error"]["code"]))

    def test_no_server_info(self) -> None:
        """A server without a name gets none, and a broken C{_meta} goes."""
        client = Client(opening={"capabilities": {}})
        client.calls(1)

        client.told(Completed(102, raw({**DONE, "_meta": 5})))

        self.assertEqual({**DONE, "resultType": "complete"}, client.said()[0]["result"])

    def test_conversion(self) -> None:
        """Results and errors are in the words of this era."""
        client = Client()
        client.asks(1, "tools/list")
        client.calls(2)
        client.asks(3, "resources/read", {"uri": "a://b"})
        tool = {"name": "t", "inputSchema": {"type": "object"}, "execution": {"taskSupport": "optional"}}

        client.told(Completed(102, raw({"tools": [tool]})))
        client.told(Completed(103, raw({"structuredContent": {"a": 1}})))
        client.told(Failed(104, ErrorObject(-32002, "gone")))

        tools, result, failed = client.said()
        self.assertNotIn("execution", tools["result"]["tools"][0])
        self.assertEqual([], result["result"]["content"])
        self.assertEqual((-32602, {"uri": "a://b"}), (failed["error"]["code"], failed["error"]["data"]))

    def test_native(self) -> None:
        """Between two of this era questions, answers and states pass as they are, and nothing is kept."""
        client = Client(opening=MODERN)
        asked = {"inputRequests": {"k": {"method": "roots/list"}}, "requestState": "mcpbridge-of-another"}
        answers: Any = {"k": {"roots": []}}

        client.calls(1)
        client.told(Completed(102, raw(asked), Envelope(raw("input_required"))))
        client.calls(2, inputResponses=answers, requestState="mcpbridge-of-another")

        (said,) = client.said()
        self.assertEqual({**asked, "resultType": "input_required", "_meta": SERVER}, said["result"])
        params = {"name": "t", "arguments": {"a": 1}, "inputResponses": answers, "requestState": "mcpbridge-of-another"}
        self.assertEqual(Called(103, "tools/call", raw(params), False, Native()), client.crossed()[-1])

    def test_native_log_level(self) -> None:
        """To a server of this era the level goes with each call; there is nothing to set."""
        client = Client(opening=MODERN)

        client.calls(1, more={"io.modelcontextprotocol/logLevel": "debug"})

        self.assertEqual([Native("debug")], [event.native for event in client.crossed() if isinstance(event, Called)])

    def test_turned_native(self) -> None:
        """A server that was upgraded since it was remembered is known by its first answer."""
        client = Client()
        client.calls(1)
        client.told(Completed(102, raw({"requestState": "s"}), Envelope(raw("input_required"))))
        client.crossed()

        client.calls(2, requestState="s")

        self.assertEqual([103], [event.xid for event in client.crossed() if isinstance(event, Called)])

    def test_task_of_another_era(self) -> None:
        """A task of a server of the session era is told in words of this one, which makes the server none of it."""
        client = Client()
        client.calls(1)
        client.told(Completed(102, raw({"taskId": "t", "status": "working"}), Envelope(raw("task"))))
        client.crossed()

        client.calls(2, requestState="mcpbridge-expired")

        self.assertEqual([], client.crossed())
        self.assertEqual("parked_expired", client.said()[-1]["error"]["data"]["mcpbridge"]["reason"])

    def test_retry_waits_for_the_era(self) -> None:
        """Whose a state is cannot be known before it is known who the server is."""
        for opening, expected in ((MODERN, [Called]), (OPENING, [])):
            client = Client(opening=None)
            client.calls(1, requestState="s")
            before = [type(event) for event in client.crossed()]

            client.open(opening)

            self.assertEqual([Opened, Ready], before)
            self.assertEqual(expected, [type(event) for event in client.crossed()])

    def test_unasked_answers(self) -> None:
        """Answers to questions never asked are ignored (Multi Round-Trip Requests, Error Handling)."""
        client = Client()

        client.calls(1, inputResponses={"k": {"action": "accept"}})

        self.assertEqual([CALL], client.crossed())

    def test_task_of_the_other_era(self) -> None:
        """C{task} in params is nothing in this era, and would make a task of the other."""
        client = Client()

        client.calls(1, task={"ttl": 1})

        self.assertEqual([CALL], client.crossed())
