"""
How often something is tried before it is let be: so that no server keeps us, or our user, busy with 401 and 403.
"""

from __future__ import annotations

from collections import deque

import attrs

from mcpbridge.core.oauth.scopes import Scopes

#: Whole authorizations of one upstream, and the seconds in which they count.
MAX_FLOWS = 3
FLOW_WINDOW = 300.0

#: Times that more scopes are asked for by one operation.
MAX_STEP_UPS = 2

#: Operations whose step-ups are remembered.
_MAX_OPERATIONS = 256


@attrs.define(eq=False)
class Budget:
    """What has been tried at one upstream."""

    _flows: deque[float] = attrs.field(factory=deque, init=False)
    _step_ups: dict[tuple[str, frozenset[str]], int] = attrs.field(factory=dict, init=False)

    def take_flow(self, now: float) -> bool:
        """
        Whether to go through another whole authorization on our own account; counts it if so.

        @param now: seconds.
        """
        while self._flows and now - self._flows[0] >= FLOW_WINDOW:
            self._flows.popleft()
        if len(self._flows) >= MAX_FLOWS:
            return False
        self._flows.append(now)
        return True

    def take_step_up(self, operation: str, scopes: Scopes) -> bool:
        """
        Whether to ask for more scopes for this operation once more; counts it if so.

        @param operation: what was refused, such as a URL and a method.
        @param scopes: what the server wants.
        """
        key = (operation, frozenset(scopes))
        count = self._step_ups.get(key, 0)
        if count >= MAX_STEP_UPS:
            return False
        self._step_ups.pop(key, None)
        self._step_ups[key] = count + 1
        while len(self._step_ups) > _MAX_OPERATIONS:
            del self._step_ups[next(iter(self._step_ups))]
        return True

    def succeeded(self) -> None:
        """A human has logged in: whatever was tried before counts no more."""
        self._flows.clear()
