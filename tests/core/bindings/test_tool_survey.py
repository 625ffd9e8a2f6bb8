"""
Tests for L{mcpbridge.core.bindings.tool_survey}.
"""

from __future__ import annotations

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.tool_survey import MAX_PAGES, ToolSurvey
from mcpbridge.core.jsonrpc import Request, Result, value

META = Raw(b'{"v":1}')


class ToolSurveyTests(SynchronousTestCase):
    """Page after page."""

    def test_pages(self) -> None:
        """
        The cursor goes back as it came, under a new id, until there is none.
        """
        survey = ToolSurvey(META)

        asked = [
            survey.first(),
            survey.following(Result("a", Raw(b'{"tools":[],"nextCursor":"\\ud800"}'))),
            survey.following(Result("b", Raw(b'{"tools":[]}'))),
        ]

        self.assertEqual(
            [
                Request("mcpbridge-tools-1", "tools/list", Raw(b'{"_meta":{"v":1}}')),
                Request("mcpbridge-tools-2", "tools/list", Raw(b'{"cursor":"\\ud800","_meta":{"v":1}}')),
                None,
            ],
            asked,
        )

    def test_no_pages(self) -> None:
        """
        What is no list, or has no cursor of the right type, is the last page.
        """
        results: list[object] = [[], {"nextCursor": None}, {"nextCursor": 5}, 7]
        for result in results:
            self.assertIsNone(ToolSurvey(META).following(Result("a", value(result))))

    def test_circle(self) -> None:
        """
        A server that always has another page is left after so many.
        """
        survey = ToolSurvey(META)
        survey.first()

        count = 1
        while survey.following(Result("a", value({"nextCursor": "again"}))) is not None:
            count += 1

        self.assertEqual(MAX_PAGES, count)
