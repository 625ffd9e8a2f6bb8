"""
The request that a dialogue made last, and where it was sent on to.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from mcpbridge.core.bindings.dialogue import Send
from mcpbridge.core.bindings.http import MAX_REDIRECTS, HTTPRequest, ResponseHead, redirect_loss, redirect_target
from mcpbridge.core.errors import Loss


@attrs.define(eq=False)
class Attempt:
    """
    Follows redirects as far as that is safe: 307 and 308, on the same origin, a few times.

    @ivar _moved: told about every redirect that is followed: the head, the old URL, the new one.
    """

    _moved: Callable[[ResponseHead, str, str], None]
    _last: Send | None = attrs.field(init=False, default=None)
    _redirects: int = attrs.field(init=False, default=0)

    def send(self, request: HTTPRequest, after: float = 0.0, deadline: float | None = None) -> Send:
        """Make this request; forget the ones before."""
        self._last = Send(request, after, deadline)
        self._redirects = 0
        return self._last

    def redirected(self, head: ResponseHead) -> Send | Loss:
        """
        A 3xx came.

        @return: the same request to the new place, or why it is not followed.
        """
        assert self._last is not None
        url = self._last.request.url
        target = redirect_target(head, url)
        if target is None or self._redirects == MAX_REDIRECTS:
            return redirect_loss(head, url)
        self._redirects += 1
        self._moved(head, url, target)
        self._last = attrs.evolve(self._last, request=attrs.evolve(self._last.request, url=target), after=0.0)
        return self._last
