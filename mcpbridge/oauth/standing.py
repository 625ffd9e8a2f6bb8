"""
How the authorization at one upstream stands, for an operator.
"""

from __future__ import annotations

import enum

import attrs
from twisted.logger import Logger


class State(enum.Enum):
    """In a word."""

    UNKNOWN = "unknown"
    AUTHORIZED = "authorized"
    LOGIN_NEEDED = "login needed"
    FAILING = "failing"


@attrs.define(eq=False)
class Standing:
    """
    One for each account at each upstream.

    @ivar name: of the upstream, for the log.
    @ivar trouble: what is wrong, in a sentence; empty if nothing is.
    """

    name: str
    state: State = attrs.field(init=False, default=State.UNKNOWN)
    trouble: str = attrs.field(init=False, default="")
    _log = Logger()

    def __str__(self) -> str:
        return f"{self.state.value}: {self.trouble}" if self.trouble else self.state.value

    def authorized(self) -> None:
        """There is access."""
        self.state, self.trouble = State.AUTHORIZED, ""

    def login_needed(self, trouble: str = "") -> None:
        """There is none without a human."""
        self.state, self.trouble = State.LOGIN_NEEDED, trouble

    def fail(self, trouble: str) -> None:
        """There is none, or soon there will be none, and it is nothing that a human at a browser could do about."""
        self.state, self.trouble = State.FAILING, trouble
        self._log.warn("{name}: {text}", name=self.name, text=trouble)
