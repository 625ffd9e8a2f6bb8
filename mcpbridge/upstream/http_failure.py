"""
What a failure of Twisted, treq or ours means for the request that it befell.
"""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.defer import TimeoutError
from twisted.python.failure import Failure
from twisted.web._newclient import ParseError, RequestNotSent  # Not exported, and yet what the client raises.
from twisted.web.client import RequestGenerationFailed, RequestTransmissionFailed

from mcpbridge.core.bindings.http import excerpt
from mcpbridge.core.errors import Fate, Loss, Reason, UpstreamUnavailable
from mcpbridge.net.failures import BodyTimeout, BodyTooLarge, CodingRefused, HeadRefused, NotConnected
from txsse import EventTooLarge, IdleTimeout

_UNSENT = (RequestNotSent, RequestGenerationFailed, RequestTransmissionFailed)
_REFUSED = (HeadRefused, CodingRefused, BodyTooLarge, EventTooLarge)
_TIMEOUT = (TimeoutError, BodyTimeout, IdleTimeout)
# The second two are what Twisted's parser lets out for lengths and codings that it does not understand.
_NO_HTTP = (ParseError, ValueError, KeyError)


def loss_of(failure: Failure) -> Loss:
    """
    The loss of the request that was under way.

    What is not known better may have run: the request was written, and what became of it was not heard.
    """
    causes = list(_causes(failure))
    for cause in causes:
        if isinstance(cause, UpstreamUnavailable):
            # Who stands between us and the connection knows best what became of the request.
            return cause.loss
        if isinstance(cause, NotConnected):
            text = excerpt(str(cause))
            if cause.refused:
                text += "; waiting for a server to listen there. Is it started, and is its url right?"
            return Loss(Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE, text)
        if isinstance(cause, _REFUSED):
            return Loss(Fate.FAILED, Reason.MALFORMED, f"the answer is refused: {excerpt(str(cause))}")
        if isinstance(cause, _TIMEOUT):
            return Loss(Fate.UNKNOWN, Reason.UPSTREAM_TIMEOUT, "the server did not answer in time")
    if any(isinstance(cause, _UNSENT) for cause in causes):
        text = "the connection was lost before the request was sent"
        return Loss(Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE, text)
    if any(isinstance(cause, _NO_HTTP) for cause in causes):
        return Loss(Fate.FAILED, Reason.MALFORMED, "what the server answered is not HTTP")
    return Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "the connection was lost before the answer was complete")


def _causes(failure: Failure) -> Iterator[BaseException]:
    """The exception, and those that Twisted has wrapped in it."""
    error = failure.value
    if error is None:
        return
    yield error
    for reason in getattr(error, "reasons", ()):
        yield from _causes(reason)
