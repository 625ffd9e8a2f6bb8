"""
Tests for L{mcpbridge.core.bridge}: what servers ask clients.
"""

from __future__ import annotations

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.effects import Send, Tell
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.events import InputProgressed, InputRequest, InputRequired, InputSupplied, InputWithdrawn, Ready
from mcpbridge.core.jsonrpc import Error, Notification, Result
from tests.core.rigs import CRASHED, Rig, call, question, raw, sends, sent_call, tells, up


class QuestionTests(SynchronousTestCase):
    """What a server asks."""

    def test_asked_and_answered(self) -> None:
        """The client of the exchange is asked, or the only one there is; the answer goes back where it was asked."""
        rig = up()
        rig.deliver(1, call(11))
        rig.taken()

        rig.says(1, question(5, "elicitation/create"), within=2)
        rig.says(1, question(6))
        asked = rig.taken()
        rig.deliver(1, InputSupplied(11, {"1.q1": Raw(b'{"action":"accept"}')}))
        rig.deliver(1, InputProgressed("1.q2", {"progress": Raw(b"1")}))
        rig.deliver(1, InputSupplied(None, {"1.q2": ErrorObject(1, "no")}), InputSupplied(None, {"1.q2": Raw(b"{}")}))

        self.assertEqual(
            [
                Tell(1, InputRequired(11, {"1.q1": InputRequest("elicitation/create", None)})),
                Tell(1, InputRequired(None, {"1.q2": InputRequest("roots/list", None)})),
            ],
            asked,
        )
        self.assertEqual(
            [Send(1, Result(5, Raw(b'{"action":"accept"}')), 5), Send(1, Error(6, ErrorObject(1, "no")), 6)],
            rig.taken(),
        )
        self.assertEqual(0, rig.bridge.counts()["questions"])

    def test_held_until_ready(self) -> None:
        """A client may be asked when it has seen the answer to its opening, not before."""
        rig = Rig()
        rig.attach(1, ready=False)
        rig.opens(1)
        rig.taken()

        rig.says(1, question(5))
        first = rig.taken()
        rig.deliver(1, Ready())

        self.assertEqual([], first)
        self.assertEqual([Tell(1, InputRequired(None, {"1.q1": InputRequest("roots/list", None)}))], rig.taken())

    def test_ready_by_its_first_request(self) -> None:
        """One that asks something is ready, whatever it forgot to say."""
        rig = Rig()
        rig.attach(1, ready=False)
        rig.opens(1)
        rig.says(1, question(5))
        rig.taken()

        rig.deliver(1, call(11))

        asked = InputRequired(None, {"1.q1": InputRequest("roots/list", None)})
        self.assertEqual([Tell(1, asked), sent_call(1, 2, 11)], rig.taken())

    def test_too_many_held(self) -> None:
        """Over a bound they are refused."""
        rig = Rig()
        rig.attach(1, ready=False)
        rig.opens(1)
        rig.taken()

        rig.says(1, *(question(number) for number in range(70)))

        refused = [message.id for _, message in sends(rig.taken()) if isinstance(message, Error)]
        self.assertEqual(list(range(64, 70)), refused)

    def test_nobody_there(self) -> None:
        """Without a client it is refused; the next one's roots are announced."""
        rig = up()
        rig.detach(1)
        rig.taken()

        rig.says(1, question(5))
        first = rig.taken()
        rig.attach(2)

        (refused,) = sends(first)
        assert isinstance(refused[1], Error)
        self.assertEqual(5, refused[1].id)
        self.assertEqual(Send(1, Notification("notifications/roots/list_changed")), rig.taken()[-1])

    def test_client_gone(self) -> None:
        """What it was asked, and what it would have been, is refused."""
        rig = up()
        rig.says(1, question(5))
        rig.taken()

        rig.detach(1)

        self.assertEqual([5], [message.id for _, message in sends(rig.taken()) if isinstance(message, Error)])
        self.assertEqual(0, rig.bridge.counts()["questions"])

    def test_client_gone_before_it_was_ready(self) -> None:
        """The same for what was held."""
        rig = Rig()
        rig.attach(1, ready=False)
        rig.opens(1)
        rig.says(1, question(5))
        rig.taken()

        rig.detach(1)

        self.assertEqual([5], [message.id for _, message in sends(rig.taken()) if isinstance(message, Error)])
        self.assertEqual(0, rig.bridge.counts()["questions"])

    def test_withdrawn(self) -> None:
        """The client is told; a question that was held is never asked."""
        rig = up()
        rig.says(1, question(5), Notification("notifications/cancelled", raw({"requestId": 5, "reason": "r"})))
        told = rig.taken()
        rig.detach(1)
        rig.attach(2, ready=False)
        rig.says(1, question(6), Notification("notifications/cancelled", raw({"requestId": 6})))
        rig.taken()

        rig.deliver(2, Ready())

        self.assertEqual(Tell(1, InputWithdrawn("1.q1", "r")), told[-1])
        self.assertEqual([], [event for _, event in tells(rig.taken()) if isinstance(event, InputRequired)])

    def test_server_gone(self) -> None:
        """Its questions are withdrawn, once."""
        rig = up()
        rig.says(1, question(5))
        rig.taken()

        rig.ends(1, CRASHED)

        self.assertEqual([Tell(1, InputWithdrawn("1.q1", "the connection to the server was lost"))], rig.taken())
        self.assertEqual(0, rig.bridge.counts()["questions"])

    def test_question_of_a_call_that_is_over(self) -> None:
        """The next client is not asked what was meant for the one before."""
        rig = up()
        rig.deliver(1, call(11))
        rig.detach(1)
        rig.attach(2)
        rig.taken()

        rig.says(1, question(5, "elicitation/create"), within=2)

        (refused,) = sends(rig.taken())
        self.assertIsInstance(refused[1], Error)
