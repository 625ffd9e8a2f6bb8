"""
May it be asked again? One table for every way in which a request, or a connection, gets lost.

The rule above all others: a call that may have run is never sent twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mcpbridge.core.errors import ErrorObject, Fate, Loss, Reason, bridge_error

#: Requests that change nothing at the server that asking twice would change twice. Everything else, unknown methods
#: included, is taken to act.
IDEMPOTENT: Final = frozenset(
    (
        "initialize",
        "server/discover",
        "ping",
        "tools/list",
        "prompts/list",
        "prompts/get",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "completion/complete",
        "logging/setLevel",
        "tasks/get",
        "tasks/list",
        "tasks/result",
        "tasks/update",
        "tasks/cancel",
    )
)

#: Of these, what the server answers when something else is done.
LASTING: Final = frozenset(("tasks/result",))

#: How often the counterpart may turn one request away before it is believed.
MAX_REJECTIONS: Final = 3

#: A longer wait than this is the client's to decide on.
LONGEST_WAIT: Final = 30.0


def backoff(attempt: int, entropy: Callable[[], float], *, first: float = 0.2, longest: float = 2.0) -> float:
    """
    Seconds to wait before the next attempt: exponential, with full jitter on the upper half, so that many clients of
    one server that came back do not all return at the same instant.

    @param attempt: how many have failed so far, from 1.
    @param entropy: numbers in [0, 1).
    """
    ceiling = min(longest, first * 2.0 ** min(attempt - 1, 16))
    return ceiling * (0.5 + 0.5 * entropy())


def wait_before_retry(method: str, times: int, loss: Loss, entropy: Callable[[], float]) -> float | None:
    """
    Whether to send a lost request again, under a new id.

    @param times: how often it has been lost with this fate so far, at least 1. Fates are counted apart: a server
        that restarts is first not there, and then knows no session.
    @return: seconds to wait first; L{None} if it must not or need not be sent again. A request that was never sent
        may be tried until its own deadline: the caller watches that.
    """
    match loss.fate:
        case Fate.NEVER_SENT:
            wait = loss.retry_after or backoff(times, entropy)
            return wait if wait <= LONGEST_WAIT else None
        case Fate.REJECTED if loss.reason in (Reason.AUTH_REQUIRED, Reason.AUTH_FAILED, Reason.INSUFFICIENT_SCOPE):
            return None
        case Fate.REJECTED if times <= MAX_REJECTIONS:
            wait = loss.retry_after if loss.retry_after is not None else backoff(times, entropy)
            return wait if wait <= LONGEST_WAIT else None
        case Fate.SESSION_LOST if loss.reason is Reason.VERSION_REFUSED:
            # What it speaks now has been found out since; one that refuses that as well will not be understood.
            return 0.0 if times == 1 else None
        case Fate.SESSION_LOST if times <= MAX_REJECTIONS:
            return 0.0
        case Fate.UNKNOWN if method in IDEMPOTENT and times <= 1:
            return backoff(times, entropy)
    return None


def unknown_outcome(what: str) -> str:
    """What a human has to know of a request that may have run; C{what} is its method."""
    return f"Whether {what} took effect is not known; it was not sent again. Check before you repeat it"


def failure(upstream: str, what: str, loss: Loss) -> ErrorObject:
    """
    What the client is told of a request that is given up.

    @param what: the method, for the text.
    """
    unknown = loss.fate is Fate.UNKNOWN and what not in IDEMPOTENT
    reason = Reason.OUTCOME_UNKNOWN if unknown else loss.reason
    text = f"{upstream}: {loss.text}"
    if unknown:
        text += f". {unknown_outcome(what)}"
    harmless = loss.fate in (Fate.NEVER_SENT, Fate.REJECTED, Fate.SESSION_LOST)
    return bridge_error(reason, upstream, text, retryable=harmless or (what in IDEMPOTENT and not unknown))
