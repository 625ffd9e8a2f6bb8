"""
The credentials that one account at one upstream has: those in use, and their record in the store.

Others write to the store too: another daemon on the same state folder, or a login from a terminal. Which of two records
is the newer one cannot be seen on their numbers, since all that is known of an account may have been forgotten in
between. What is in the store is newer than what is in use, whenever it is something else: nothing is used that was not
written down, with one exception that is remembered here.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred

from mcpbridge.core.oauth.records import Credentials, Key
from mcpbridge.oauth.errors import StoreFailure
from mcpbridge.oauth.flight import SingleFlight
from mcpbridge.oauth.interfaces import ITokenStore
from mcpbridge.oauth.standing import Standing


@attrs.define(eq=False)
class Holding:
    """
    See the top of this module.

    @ivar upstream: the canonical URI of the resource, the first part of the key to everything kept.
    @ivar account: one of several that the user may have there.
    @ivar changed: told when other credentials are used from now on, or none.
    @ivar _outdated: the record in the store that could not be replaced by what is in use; L{None} if it could.
    """

    upstream: str
    account: str
    _store: ITokenStore
    _standing: Standing
    changed: Callable[[], None] = attrs.field(init=False, default=lambda: None)
    current: Credentials | None = attrs.field(init=False, default=None, repr=False)
    _outdated: Credentials | None = attrs.field(init=False, default=None, repr=False)
    _loaded: bool = attrs.field(init=False, default=False)
    _loading: SingleFlight[None] = attrs.field(init=False, factory=SingleFlight)

    @property
    def is_empty(self) -> bool:
        """Whether it is known that there is nothing."""
        return self._loaded and self.current is None

    @property
    def generation(self) -> int:
        """The number of what is in use; 0 if there is nothing."""
        return 0 if self.current is None else self.current.generation

    def key(self, issuer: str) -> Key:
        """Under what to keep what is from this issuer."""
        return Key(self.upstream, issuer, self.account)

    async def load(self) -> None:
        """
        Have what an earlier daemon kept, once.

        @raise StoreFailure: there is something that cannot be read. It is looked at again the next time.
        """
        if not self._loaded:
            await self._loading.join(lambda: Deferred.fromCoroutine(self._load()))

    async def _load(self) -> None:
        try:
            found = await self._store.load(self.upstream, self.account)
        except StoreFailure as error:
            self._standing.fail(str(error))
            raise
        self._loaded = True
        if found is not None:
            self.use(found)

    def use(self, credentials: Credentials) -> None:
        """Show these from now on."""
        self.current = credentials
        self._outdated = None
        self._standing.authorized()
        self.changed()

    def drop(self) -> Credentials | None:
        """
        Show none from now on.

        @return: what was shown.
        """
        current, self.current = self.current, None
        self._outdated = None
        self._standing.login_needed()
        self.changed()
        return current

    async def adopt(self, before: Credentials | None) -> bool:
        """
        Use what is in the store, if that is something else than this.

        @return: whether it was.
        @raise StoreFailure: it cannot be read.
        """
        found = await self._store.load(self.upstream, self.account)
        if found is None or is_same(found, before) or is_same(found, self._outdated):
            return False
        if not is_same(found, self.current):
            self.use(found)
        return True

    async def accept(self, new: Credentials, key: Key, now: float) -> None:
        """
        Keep what a human has brought, in place of whatever there is, and use it.

        @param now: seconds since the epoch. It gives the number, so that this is a new one also after everything was
            forgotten, and for daemons that do not know of each other.
        @raise StoreFailure: it cannot be kept.
        """
        await self.load()
        new = attrs.evolve(new, generation=max(self.generation + 1, int(now)))
        await self._store.save(key, new, None)
        self.use(new)

    async def replace(self, before: Credentials, new: Credentials) -> bool:
        """
        Keep these in place of those, and use them; or use what somebody else has got meanwhile.

        @return: whether one or the other was done.
        """
        kept = self._outdated or before
        try:
            saved = await self._store.save(self.key(before.server.issuer), new, kept.generation)
        except StoreFailure as error:
            if not is_same(self.current, before):
                # Somebody has logged out, or in anew.
                return self.current is not None
            # They exist only here now. They are kept, and saved before they are used.
            self.use(new)
            self._outdated = kept
            self._standing.fail(str(error))
            return False
        if not saved:
            return await self.adopt(before)
        self.use(new)
        return True

    async def save_again(self) -> None:
        """
        What could not be written down has to be before it is shown.

        @raise StoreFailure: it still cannot be.
        """
        current = self.current
        if self._outdated is None or current is None or await self.adopt(current):
            return
        await self._store.save(self.key(current.server.issuer), current, None)
        self._outdated = None
        self._standing.authorized()

    async def ended(self, before: Credentials) -> bool:
        """
        The authorization server says that these are void: forget them, unless there are others by now.

        @return: whether there are.
        """
        if await self.adopt(before):
            return True
        kept = self._outdated or before
        await self._store.forget(self.key(before.server.issuer), kept.generation)
        if self.current is before:
            self.drop()
        return False

    async def forget_client(self, issuer: str) -> None:
        """The authorization server does not know us any more; what it gave may be good until its end all the same."""
        await self._store.forget_client(self.key(issuer))

    async def forget_all(self) -> None:
        """Whatever there is, and what a renewal under way has brought in the meantime."""
        await self._store.forget_all(self.upstream, self.account)
        self._loaded = True
        self.drop()


def is_same(one: Credentials | None, other: Credentials | None) -> bool:
    """Whether this is the same set of tokens. A server may give one access token twice, with another refresh token."""
    return _tokens(one) == _tokens(other)


def _tokens(credentials: Credentials | None) -> object:
    if credentials is None:
        return None
    tokens = credentials.tokens
    return tokens.access_token, tokens.refresh_token, tokens.expires_at
