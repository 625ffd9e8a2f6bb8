"""
The same payload in the words of another revision.

A message is converted once, toward whoever receives it, by the revision that the receiver speaks: which one the sender
speaks does not matter, since what is newer than the receiver can only come from a newer sender. Every rule begins with
a comparison of revisions, then looks for the bytes that it is about: a payload that no rule touches is not opened and
comes back as the very object that it was. Inside of one that is touched, whatever is not touched keeps its bytes.

Fields that a receiver does not know it ignores, so they stay; so do unknown methods, kinds of content and keywords of
schemas. Text that is not what it should be is not corrected: the receiver sees it as it would without a bridge.

Nothing here knows envelopes, ids or conversations. A name in a payload that is spelt with escapes of its letters
(C{"\\u0061udio"}) is not found; no writer of JSON does that.
"""

from mcpbridge.core.conversion.questions import answer_for, question_for
from mcpbridge.core.conversion.requests import request_for
from mcpbridge.core.conversion.results import result_for
from mcpbridge.core.conversion.tools import wrapped_tools

__all__ = ["answer_for", "question_for", "request_for", "result_for", "wrapped_tools"]
