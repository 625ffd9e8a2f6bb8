"""
An agent round an agent: adds what lets us in, and deals with a server that does not let us in.

No transport knows that this happens. What it adds goes to the upstream's own origin and nowhere else.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from mcpbridge.core.errors import ConfigurationError, Fate, Loss, Reason, UpstreamUnavailable
from mcpbridge.core.oauth.challenge import BearerChallenge, bearer_challenge
from mcpbridge.core.oauth.records import Credentials
from mcpbridge.core.oauth.urls import same_origin
from mcpbridge.net.body import BodyReader
from mcpbridge.net.guard import challenges_of
from mcpbridge.net.producer import MessageProducer
from mcpbridge.oauth.authorizer import Authorizer
from mcpbridge.oauth.errors import StoreFailure, Unready
from mcpbridge.oauth.static import StaticHeaders
from mcpbridge.oauth.verdict import Retry, Stop, Verdict

#: What is read of a refusal's body so that its connection can be used again: bytes, and seconds.
_DRAIN_LIMIT, _DRAIN_DEADLINE = 16 * 1024, 2.0

#: Times that one request is made. One refresh, one authorization or two step-ups in between; then it is enough.
_MAX_TRIES = 3

_Shown: TypeAlias = Credentials | None


@implementer(IAgent)
@attrs.define(eq=False)
class AuthorizingAgent:
    """
    See the top of this module.

    @ivar _url: of the upstream; decides to whom credentials are shown.
    @ivar _authorizer: L{None}: no OAuth for this server.
    @ivar _static: headers that are configured, or that a program makes.
    @ivar _own: the URI of the last request of this origin, which is nearly always that of the next.
    """

    _agent: IAgent
    _clock: IReactorTime
    _url: str = attrs.field(repr=False)
    _authorizer: Authorizer | None
    _static: StaticHeaders | None
    _own: bytes = attrs.field(init=False, default=b"", repr=False)
    _log = Logger()

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """
        Make a request, and if need be make it again: the same bytes.

        @raise UpstreamUnavailable: (through the Deferred) we are not let in, or cannot ask to be; C{loss} says what the
            user has to do.
        """
        if uri != self._own and not self._is_ours(uri):
            return self._agent.request(method, uri, headers, bodyProducer)
        headers = Headers() if headers is None else headers
        if self._static is not None or (self._authorizer is not None and not self._authorizer.has_nothing):
            return Deferred.fromCoroutine(self._request(method, uri, headers, bodyProducer, None))
        # The path of every call to a server that asks for nothing; it must cost nothing.
        answered = self._agent.request(method, uri, headers, bodyProducer)
        return answered.addCallback(self._let_in, method, uri, headers, bodyProducer)

    def _is_ours(self, uri: bytes) -> bool:
        if not same_origin(uri.decode("ascii", "replace"), self._url):
            return False
        self._own = uri
        return True

    def _let_in(
        self, response: IResponse, method: bytes, uri: bytes, headers: Headers, bodyProducer: IBodyProducer | None
    ) -> IResponse | Deferred[IResponse]:
        if response.code not in (401, 403):
            return response
        return Deferred.fromCoroutine(self._request(method, uri, headers, bodyProducer, response))

    async def _request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers,
        bodyProducer: IBodyProducer | None,
        refusal: IResponse | None,
    ) -> IResponse:
        """
        @param refusal: what the request without anything was answered with, if it was made already.
        """
        tries = 0
        while True:
            if refusal is None:
                shown, sent = await self._authorized(headers)
                response: IResponse = await self._agent.request(method, uri, sent, bodyProducer)
            else:
                shown, response, refusal = None, refusal, None
            tries += 1
            if response.code not in (401, 403):
                return response
            again = tries >= _MAX_TRIES
            if not await self._may_retry(response, shown, method, tries, again):
                return response
            await self._drain(response)
            if isinstance(bodyProducer, MessageProducer):
                bodyProducer = bodyProducer.again()

    async def _authorized(self, headers: Headers) -> tuple[_Shown, Headers]:
        if self._authorizer is None and self._static is None:
            return None, headers
        sent = headers.copy()
        try:
            if self._static is not None:
                for name, value in (await self._static.headers()).items():
                    sent.setRawHeaders(name, [value])
            if self._authorizer is None:
                return None, sent
            credentials = await self._authorizer.credentials()
        except (StoreFailure, ConfigurationError) as error:
            raise _failed(Fate.FAILED, Reason.AUTH_FAILED, str(error)) from None
        except Unready as error:
            # Not a byte was sent, and the authorization server may be back in a moment.
            raise _failed(Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE, str(error)) from None
        if credentials is not None:
            sent.setRawHeaders(b"Authorization", [f"Bearer {credentials.tokens.access_token}".encode("ascii")])
        return credentials, sent

    async def _may_retry(self, response: Any, shown: _Shown, method: bytes, tries: int, last: bool) -> bool:
        """Whether the request is to be made again; raises what the client is to be told if not."""
        challenge = bearer_challenge(challenges_of(response))
        if self._static is not None and self._static.changes and tries == 1:
            self._static.forget()
            return True
        if self._authorizer is None:
            return False
        try:
            verdict = await self._verdict(response.code, challenge, shown, method, tries)
        except (StoreFailure, ConfigurationError) as error:
            await self._drain(response)
            raise _failed(Fate.FAILED, Reason.AUTH_FAILED, str(error)) from None
        if isinstance(verdict, Retry) and not last:
            return True
        if verdict is None:
            return False
        await self._drain(response)
        if isinstance(verdict, Stop):
            raise UpstreamUnavailable(verdict.loss)
        raise _failed(
            Fate.FAILED, Reason.AUTH_FAILED, f"it answers HTTP {response.code} to every token that it was shown"
        )

    async def _verdict(
        self, status: int, challenge: BearerChallenge | None, shown: _Shown, method: bytes, tries: int
    ) -> Verdict | None:
        assert self._authorizer is not None
        if status == 401:
            return await self._authorizer.unauthorized(shown, challenge, tries > 1)
        if challenge is not None and challenge.insufficient_scope:
            return await self._authorizer.insufficient(challenge, f"{method.decode('ascii', 'replace')} {self._url}")
        # Another 403 is about the user, not about the token.
        return None

    def _drain(self, response: IResponse) -> Deferred[object]:
        """Read a little of a body that nobody wants; if there is more, its connection is closed."""
        drained: Deferred[object] = Deferred()
        response.deliverBody(BodyReader(_DRAIN_LIMIT, drained.callback, self._clock, _DRAIN_DEADLINE))
        # What went wrong with it is of no interest: the connection is closed then, and that is all.
        return drained.addErrback(self._not_drained)

    def _not_drained(self, failure: Any) -> None:
        self._log.debug("the body of a refusal was not read: {error}", error=failure.getErrorMessage())


def _failed(fate: Fate, reason: Reason, text: str) -> UpstreamUnavailable:
    return UpstreamUnavailable(Loss(fate, reason, text))
