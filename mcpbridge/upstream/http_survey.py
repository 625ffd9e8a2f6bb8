"""
Performs a L{ToolSurvey} for the calls that wait for it: once for all of them, and not for longer than they can wait.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mcpbridge.core.bindings.dialogue import Delivery, Noise
from mcpbridge.core.bindings.modern_http import ModernHTTP, Spoken
from mcpbridge.core.bindings.modern_request import ModernRequestDialogue
from mcpbridge.core.bindings.tool_survey import ToolSurvey
from mcpbridge.core.jsonrpc import Request, Result
from mcpbridge.upstream.http_call import Call, Wire


@attrs.define(eq=False)
class Survey:
    """
    At most one way through the lists at a time.

    @ivar _noticed: told what is to be logged.
    @ivar _waiting: the calls, in the order in which they came.
    """

    _wire: Wire
    _clock: IReactorTime
    _rules: ModernHTTP
    _noticed: Callable[[Noise], None]
    _waiting: dict[Call, None] = attrs.field(init=False, factory=dict)
    _pages: ToolSurvey | None = attrs.field(init=False, default=None)
    _page: Call | None = attrs.field(init=False, default=None)
    _answer: Result | None = attrs.field(init=False, default=None)
    _deadline: IDelayedCall | None = attrs.field(init=False, default=None)

    def wait(self, call: Call, spoken: Spoken) -> None:
        """
        Let a call proceed when the lists are known, or cannot be had.

        @param spoken: what it says of its client.
        """
        self._waiting[call] = None
        if self._pages is None:
            self._pages = ToolSurvey(spoken.envelope())
            self._deadline = self._clock.callLater(self._rules.endpoint.limits.survey_deadline, self._too_late)
            self._ask(self._pages.first())

    def forget(self, call: Call) -> None:
        """A call waits no more. Unknown ones are ignored."""
        self._waiting.pop(call, None)

    def pause(self) -> None:
        """Read no more."""
        if self._page is not None:
            self._page.pause()

    def resume(self) -> None:
        """Go on reading."""
        if self._page is not None:
            self._page.resume()

    def close(self) -> None:
        """Give up, and tell nobody."""
        self._waiting.clear()
        self._end()

    def _ask(self, request: Request) -> None:
        spoken = Spoken.by(request)
        assert spoken is not None
        self._answer = None
        self._page = Call(self._wire, ModernRequestDialogue(self._rules, request, spoken), self)
        self._page.start()

    def _turn(self) -> None:
        """This page is read, or will never be."""
        assert self._pages is not None
        following = None if self._answer is None else self._pages.following(self._answer)
        if following is None:
            self._over()
        else:
            self._close_page()
            self._ask(following)

    def _too_late(self) -> None:
        self._deadline = None
        self._noticed(Noise("the lists of tools did not come in time; calls go without what they say of headers"))
        self._over()

    def _over(self) -> None:
        self._end()
        # It is known, or there is no use in asking again until the server itself says so.
        self._rules.marks.known = True
        waiting, self._waiting = self._waiting, {}
        for call in waiting:
            call.proceed()

    def _end(self) -> None:
        self._pages = self._answer = None
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()
        self._close_page()

    def _close_page(self) -> None:
        page, self._page = self._page, None
        if page is not None:
            page.close()

    def delivered(self, call: Call, delivery: Delivery) -> None:
        """See L{CallOwner}. Errors and losses leave the page without an answer."""
        if isinstance(delivery, Noise):
            self._noticed(delivery)
        elif isinstance(delivery, Result):
            self._answer = delivery

    def written(self, call: Call) -> None:
        """See L{CallOwner}."""

    def held(self, call: Call) -> None:
        """See L{CallOwner}. A list waits for nothing."""

    def settled(self, call: Call) -> None:
        """See L{CallOwner}. What comes after the answer is of no interest."""
        self._turn()

    def finished(self, call: Call) -> None:
        """See L{CallOwner}."""
        self._turn()
