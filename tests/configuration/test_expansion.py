"""Tests of L{mcpbridge.configuration.expansion}."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration.expansion import Expansion, expand

ENVIRONMENT = {"TOKEN": "s3cret", "EMPTY": "", "NESTED": "${TOKEN}"}


class ExpandTests(SynchronousTestCase):
    """L{expand}."""

    def test_values(self) -> None:
        """Variables give way to their values, defaults stand in for what is not set or empty."""
        table = {
            "Bearer ${TOKEN}": "Bearer s3cret",
            "${TOKEN}${TOKEN}": "s3crets3cret",
            "${EMPTY}": "",
            "${EMPTY:-x}": "x",
            "${NONE:-a b:-c}": "a b:-c",
            "${NONE:-}": "",
            "${TOKEN:-x}": "s3cret",
        }

        self.assertEqual(table, {text: expand(text, ENVIRONMENT).text for text in table})

    def test_values_are_not_expanded_again(self) -> None:
        """A value that looks like a reference is a value."""
        self.assertEqual(Expansion("${TOKEN}"), expand("${NESTED}", ENVIRONMENT))

    def test_missing(self) -> None:
        """Each missing variable is named once."""
        self.assertEqual(Expansion(" s3cret ", ("A", "B")), expand("${A} ${TOKEN} ${B}${A}", ENVIRONMENT))

    def test_left_alone(self) -> None:
        """What is no reference is text, and so is one that is escaped."""
        table = {
            "$TOKEN": "$TOKEN",
            "${x%y}": "${x%y}",
            "${": "${",
            "${}": "${}",
            "${1}": "${1}",
            "$${TOKEN}": "${TOKEN}",
            "$$": "$$",
            "${TOKEN": "${TOKEN",
        }

        self.assertEqual(table, {text: expand(text, ENVIRONMENT).text for text in table})

    def test_foreign(self) -> None:
        """Another program's spelling of a reference is reported."""
        self.assertEqual(("${env:TOKEN}", "${input:x}"), expand("${env:TOKEN} ${input:x}", ENVIRONMENT).foreign)

    def test_repr(self) -> None:
        """An expanded text may be a secret and is not shown."""
        self.assertNotIn("s3cret", repr(expand("${TOKEN}", ENVIRONMENT)))

    @settings(max_examples=200, derandomize=True, deadline=None)
    @given(st.text(st.sampled_from("${}:-TOKENA"), max_size=30))
    def test_any_text(self, text: str) -> None:
        """Nothing raises, and nothing without a reference changes."""
        expansion = expand(text, ENVIRONMENT)

        self.assertTrue(text == expansion.text or "${" in text)
