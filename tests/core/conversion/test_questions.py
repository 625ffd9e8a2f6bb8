"""
Tests for L{mcpbridge.core.conversion.questions}.
"""

from __future__ import annotations

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.conversion.questions import answer_for, question_for
from mcpbridge.core.eras import legacy, modern
from mcpbridge.core.errors import INTERNAL_ERROR, INVALID_PARAMS, ErrorObject
from mcpbridge.core.events import InputRequest

VERSIONS = (*modern.VERSIONS, *legacy.VERSIONS)


class QuestionTests(SynchronousTestCase):
    """What a server asks."""

    def test_converted(self) -> None:
        """Each kind by its own rules; who asks for progress still does."""
        table = [
            ("elicitation/create", b'{"mode":"form","message":"m"}', b'{"message":"m"}'),
            ("sampling/createMessage", b'{"toolChoice":{},"maxTokens":1}', b'{"maxTokens":1}'),
        ]

        for method, before, after in table:
            self.assertEqual(
                InputRequest(method, Raw(after), True),
                question_for("2025-06-18", InputRequest(method, Raw(before), True)),
            )

    def test_named(self) -> None:
        """The caller gives the name that a question needs."""
        question = InputRequest("elicitation/create", Raw(b'{"mode":"url"}'))

        self.assertEqual(
            InputRequest("elicitation/create", Raw(b'{"mode":"url","elicitationId":"e1"}')),
            question_for("2025-11-25", question, "e1"),
        )

    def test_impossible(self) -> None:
        """What a client cannot be asked is answered in its place; the text says why."""
        question = InputRequest("elicitation/create", Raw(b'{"mode":"url"}'))
        text = "The client speaks protocol version 2025-06-18, in which nobody can send the user to a URL"

        self.assertEqual(ErrorObject(INVALID_PARAMS, text), question_for("2025-06-18", question))

    def test_untouched(self) -> None:
        """Other questions, those without params, and all that a client understands."""
        for question in (
            InputRequest("roots/list", None),
            InputRequest("elicitation/create", None),
            InputRequest("x/unknown", Raw(b'{"mode":"url"}')),
            InputRequest("elicitation/create", Raw(b'{"message":"m"}')),
        ):
            self.assertTrue(all(question_for(version, question) is question for version in VERSIONS))


class AnswerTests(SynchronousTestCase):
    """What a client says."""

    def test_converted(self) -> None:
        """Models say more than servers could once hear."""
        answer = Raw(b'{"content":[{"type":"text","text":"a"}]}')

        self.assertEqual(
            Raw(b'{"content":{"type":"text","text":"a"}}'), answer_for("2025-06-18", "sampling/createMessage", answer)
        )

    def test_impossible(self) -> None:
        """What a server does not understand is an error, so that it does not wait."""
        answer = Raw(b'{"content":[{"type":"image"},{"type":"image"}]}')

        found = answer_for("2025-06-18", "sampling/createMessage", answer)

        assert isinstance(found, ErrorObject)
        self.assertEqual(INTERNAL_ERROR, found.code)
        self.assertIn("2025-06-18", found.message)

    def test_untouched(self) -> None:
        """Other answers are not looked at."""
        answer = Raw(b'{"content":[{"type":"image"},{"type":"image"}]}')

        for method in ("elicitation/create", "roots/list", "x/unknown"):
            self.assertTrue(all(answer_for(version, method, answer) is answer for version in VERSIONS))
        self.assertTrue(all(answer_for(v, "sampling/createMessage", answer) is answer for v in VERSIONS[:2]))
