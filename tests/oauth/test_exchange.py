"""
Tests of L{mcpbridge.oauth.exchange}: what is asked, in whose name, and what is made of the answers.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Collection
from typing import Any
from urllib.parse import parse_qsl

import attrs
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration.authorization import Grant, IdentityProvider, OAuth, Secret
from mcpbridge.core.errors import ConfigurationError
from mcpbridge.core.oauth.clients import AuthMethod, Client, ConfiguredClient, Register
from mcpbridge.core.oauth.endpoint import code_params, refresh_params
from mcpbridge.core.oauth.errors import DiscoveryFailed, IdentityUnavailable, MetadataRefused, TokenRefused
from mcpbridge.core.oauth.tokens import Denied, TokenSet, Unavailable
from mcpbridge.net.guard import Document, FetchFailed, FetchRefused
from mcpbridge.oauth.exchange import Exchange
from mcpbridge.oauth.secrets import Secrets
from tests.core.oauth.facts import CLIENT, ISSUER, NOW, REDIRECT, SERVER, UPSTREAM, document, server_document

_TOKEN = f"{ISSUER}/token"
_GIVEN = document(access_token="access-1", token_type="Bearer", expires_in=60, refresh_token="refresh-1")
_TOKENS = TokenSet("access-1", NOW, NOW + 60.0, "refresh-1")
_KEY = ec.generate_private_key(ec.SECP256R1())
_PEM = _KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@attrs.define(eq=False)
class FakeFetcher:
    """
    The network: one answer after the other, whatever is asked.

    @ivar asked: method, URL, headers and body of each.
    """

    answers: list[Any]
    asked: list[tuple[str, str, dict[bytes, bytes], bytes | None]] = attrs.Factory(list)

    def fetch(
        self, method: str, url: str, headers: Collection[tuple[bytes, bytes]] = (), body: bytes | None = None
    ) -> Deferred[Document]:
        self.asked.append((method, url, dict(headers), body))
        answer = self.answers.pop(0)
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)

    @property
    def form(self) -> dict[str, str]:
        """The form that was sent last."""
        return dict(parse_qsl((self.asked[-1][3] or b"").decode()))

    @property
    def authorization(self) -> str | None:
        """Who sent it, as far as the head says so."""
        found = self.asked[-1][2].get(b"Authorization")
        return None if found is None else b64decode(found.removeprefix(b"Basic ")).decode()


class _Case(SynchronousTestCase):
    def exchange(self, *answers: Any, **oauth: Any) -> Exchange:
        self.fetcher = FakeFetcher(list(answers))
        fetcher: Any = self.fetcher
        return Exchange(
            UPSTREAM, OAuth(**oauth), fetcher, Secrets(Clock(), {}), lambda: NOW, lambda size: b"\x01" * size
        )

    def result(self, work: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def fails(self, work: Any, kind: type[Exception]) -> str:
        return str(self.failureResultOf(Deferred.fromCoroutine(work), kind).value)


class DiscoveryTests(_Case):
    """Who lets us in."""

    def test_found(self) -> None:
        """The resource names its server, the server names itself."""
        resource = document(resource=UPSTREAM, authorization_servers=[ISSUER])
        exchange = self.exchange(Document(200, resource), Document(200, server_document()))

        found = self.result(exchange.discover(None, ()))

        self.assertEqual((UPSTREAM, _TOKEN), (found.resource, found.server.token_endpoint))
        self.assertEqual(
            [
                ("GET", "https://mcp.example.com/.well-known/oauth-protected-resource/tenant/mcp"),
                ("GET", f"{ISSUER}/.well-known/oauth-authorization-server"),
            ],
            [asked[:2] for asked in self.fetcher.asked],
        )

    def test_not_found(self) -> None:
        """Whether it is worth another try depends on why: a broken line is, a forbidden address is not."""
        for answer, temporary in (
            (FetchFailed("the line is broken"), True),
            (Document(503, b""), True),
            (FetchRefused("10.0.0.1 is no public address"), False),
        ):
            exchange = self.exchange(*[answer] * 20)

            failure = self.failureResultOf(Deferred.fromCoroutine(exchange.discover(None, ())), DiscoveryFailed)

            error = failure.value
            assert isinstance(error, DiscoveryFailed)
            self.assertEqual(temporary, error.temporary, str(error))

    def test_probe(self) -> None:
        """What it says to who comes without a token, if it says anything."""
        wanted = ('Bearer scope="a b", resource_metadata="https://mcp.example.com/x"',)
        for answer, scopes in (
            (Document(401, b"", challenges=wanted), ("a", "b")),
            (Document(401, b""), None),
            (Document(200, b"", challenges=wanted), None),
            (FetchFailed("it streams for ever"), None),
        ):
            found = self.result(self.exchange(answer).probe())

            self.assertEqual(scopes, None if found is None else found.scopes)


class TokenTests(_Case):
    """The token endpoint."""

    def test_methods(self) -> None:
        """Each way to prove who we are: in the head, in the form, or by PKCE alone; never in two of them."""
        for method, head, fields in (
            (AuthMethod.NONE, None, {"client_id": "me"}),
            (AuthMethod.BASIC, "me:s%26+cret", {}),
            (AuthMethod.POST, None, {"client_id": "me", "client_secret": "s& cret"}),
        ):
            exchange = self.exchange(Document(200, _GIVEN))
            params = code_params("code-1", REDIRECT, "verifier-1", UPSTREAM)

            found = self.result(exchange.tokens(SERVER, Client("me", "s& cret", method), params))

            self.assertEqual(_TOKENS, found)
            self.assertEqual(
                (
                    head,
                    {
                        "grant_type": "authorization_code",
                        "code": "code-1",
                        "redirect_uri": REDIRECT,
                        "code_verifier": "verifier-1",
                        "resource": UPSTREAM,
                        **fields,
                    },
                ),
                (self.fetcher.authorization, self.fetcher.form),
            )
            self.assertEqual(("POST", _TOKEN), self.fetcher.asked[-1][:2])
            self.assertEqual(b"application/x-www-form-urlencoded", self.fetcher.asked[-1][2][b"Content-Type"])

    def test_signed(self) -> None:
        """With a key: an assertion for the issuer, or for the token endpoint where the user says so."""
        for audience, expected in (("issuer", ISSUER), ("token_endpoint", _TOKEN)):
            exchange = self.exchange(Document(200, _GIVEN), private_key=Secret(text=_PEM), audience=audience)
            client = Client("me", method=AuthMethod.PRIVATE_KEY_JWT)

            self.result(exchange.tokens(SERVER, client, refresh_params("refresh-0", None)))

            form = self.fetcher.form
            claims = jwt.decode(
                form["client_assertion"],
                _KEY.public_key(),
                algorithms=["ES256"],
                audience=expected,
                options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            self.assertEqual(("me", "me"), (claims["iss"], claims["sub"]))
            self.assertEqual("urn:ietf:params:oauth:client-assertion-type:jwt-bearer", form["client_assertion_type"])
            self.assertNotIn("client_secret", form)

    def test_refresh(self) -> None:
        """Where no new refresh token comes the old one stays."""
        exchange = self.exchange(Document(200, document(access_token="access-2", token_type="Bearer")))

        found = self.result(exchange.tokens(SERVER, CLIENT, refresh_params("refresh-1", UPSTREAM), _TOKENS))

        self.assertEqual(("access-2", "refresh-1"), (found.access_token, found.refresh_token))

    def test_rotated(self) -> None:
        """A login lasts longer than a client's secret: what is configured now is shown, not what was then."""
        server = attrs.evolve(SERVER, revocation_endpoint=f"{ISSUER}/revoke")
        then = Client("mine", "old", AuthMethod.BASIC)
        exchange = self.exchange(
            *[Document(200, _GIVEN)] * 2, Document(200, b""), client_id="mine", client_secret=Secret(text="new")
        )
        shown = []

        self.result(exchange.tokens(server, then, code_params("code-1", REDIRECT, "verifier-1", UPSTREAM)))
        shown.append(self.fetcher.authorization)
        self.result(exchange.tokens(server, then, refresh_params("refresh-1", UPSTREAM), _TOKENS))
        shown.append(self.fetcher.authorization)
        self.result(exchange.revoke(server, then, _TOKENS))
        shown.append(self.fetcher.authorization)

        self.assertEqual(["mine:new"] * 3, shown)

    def test_others_secret(self) -> None:
        """Who got the tokens under another id shows the secret of that one."""
        exchange = self.exchange(Document(200, _GIVEN), client_id="mine", client_secret=Secret(text="new"))

        self.result(
            exchange.tokens(SERVER, Client("theirs", "old", AuthMethod.BASIC), refresh_params("r", UPSTREAM), _TOKENS)
        )

        self.assertEqual("theirs:old", self.fetcher.authorization)

    def test_answers(self) -> None:
        """What is no yes: a no, or nothing that says anything about the grant."""
        for answer, found in (
            (Document(400, document(error="invalid_grant")), Denied("invalid_grant")),
            (Document(503, b"", retry_after=7.0), Unavailable("the authorization server answered HTTP 503", 7.0)),
            (FetchFailed("the line is broken"), Unavailable("the line is broken")),
            (FetchRefused("it is at 10.0.0.1"), Unavailable("it is at 10.0.0.1")),
        ):
            said = self.result(self.exchange(answer).tokens(SERVER, CLIENT, refresh_params("refresh-1", None)))

            self.assertEqual(found, said)

    def test_echo(self) -> None:
        """A server that repeats what it was sent: no secret of ours gets into an error, short words stay."""
        text = "refresh-token-1 of me with s3cret-s3cret is unknown, none"
        client = Client("me", "s3cret-s3cret", AuthMethod.POST)
        exchange = self.exchange(Document(400, document(error="invalid_request", error_description=text)))

        said = self.result(exchange.tokens(SERVER, client, refresh_params("refresh-token-1", None)))

        self.assertEqual(Denied("invalid_request", "*** of me with *** is unknown, none"), said)

    def test_senseless(self) -> None:
        """A yes without a token, or a server without a token endpoint."""
        nowhere = attrs.evolve(SERVER, token_endpoint=None)
        params = refresh_params("refresh-1", None)

        self.fails(self.exchange(Document(200, b"{}")).tokens(SERVER, CLIENT, params), TokenRefused)
        self.fails(self.exchange().tokens(nowhere, CLIENT, params), MetadataRefused)


class IdentityTests(_Case):
    """Who we are."""

    def test_configured(self) -> None:
        """What the user has configured, secrets and all; a secret that is not there is an error that names it."""
        oauth = {
            "client_id": "me",
            "client_secret": Secret(text="hush"),
            "private_key": Secret(text=_PEM),
            "client_document": "https://me.example/client.json",
            "redirect_url": "https://me.example/back",
        }
        expected = ConfiguredClient(
            "me", "hush", None, True, "https://me.example/client.json", "https://me.example/back"
        )

        self.assertEqual(expected, self.result(self.exchange(**oauth).configured_client()))
        self.assertEqual(ConfiguredClient(), self.result(self.exchange().configured_client()))
        missing = self.exchange(client_secret=Secret(file="/nonexistent/secret")).configured_client()
        self.assertIn("oauth.clientSecret: the file /nonexistent/secret", self.fails(missing, ConfigurationError))

    def test_register(self) -> None:
        """The document that was prepared is sent as it is; what comes back is who we are."""
        registration = Register(f"{ISSUER}/register", b'{"client_name": "x"}')
        exchange = self.exchange(Document(201, document(client_id="new")))

        client = self.result(exchange.register(registration, REDIRECT))

        self.assertEqual(("new", REDIRECT), (client.id, client.redirect_uri))
        self.assertEqual(
            [("POST", registration.url, {b"Content-Type": b"application/json"}, registration.body)], self.fetcher.asked
        )

    def test_not_registered(self) -> None:
        """Refused, senseless, or no answer."""
        registration = Register(f"{ISSUER}/register", b"{}")
        for answer, kind in (
            (Document(403, document(error="access_denied")), IdentityUnavailable),
            (Document(201, b"{}"), TokenRefused),
            (FetchFailed("the line is broken"), FetchFailed),
        ):
            self.fails(self.exchange(answer).register(registration, REDIRECT), kind)


class OtherEndpointsTests(_Case):
    """Devices, companies, and the way out."""

    def test_device(self) -> None:
        """A code for a human; where to type it has to be a URL that can be trusted."""
        server = attrs.evolve(SERVER, device_authorization_endpoint=f"{ISSUER}/device")
        said = {"device_code": "d-1", "user_code": "WDJB", "expires_in": 60, "interval": 2}
        good = Document(200, document(verification_uri=f"{ISSUER}/code", **said))
        bad = Document(200, document(verification_uri="javascript:alert(1)", **said))

        login = self.result(self.exchange(good).device(server, CLIENT, UPSTREAM, ("a", "b")))

        self.assertEqual(
            ("d-1", f"{ISSUER}/code", NOW + 60.0, 2.0), (login.device_code, login.url, login.expires_at, login.interval)
        )
        self.assertEqual({"scope": "a b", "resource": UPSTREAM, "client_id": "client-1"}, self.fetcher.form)
        self.fails(self.exchange(bad).device(server, CLIENT, None, None), TokenRefused)
        self.fails(self.exchange().device(SERVER, CLIENT, None, None), MetadataRefused)

    def test_identity_assertion(self) -> None:
        """The company's identity provider is shown the user's token, and vouches for the user."""
        jag = "urn:ietf:params:oauth:token-type:id-jag"
        provider = IdentityProvider(
            "https://idp.example/token", Secret(text="id-token"), client_id="bridge", client_secret=Secret(text="hush")
        )
        given = Document(200, document(issued_token_type=jag, access_token="assertion-1", token_type="N_A"))
        exchange = self.exchange(given, grant=Grant.ENTERPRISE, provider=provider)

        said = self.result(exchange.identity_assertion(ISSUER, UPSTREAM, ("a",)))

        self.assertEqual("assertion-1", said)
        self.assertEqual("https://idp.example/token", self.fetcher.asked[0][1])
        self.assertEqual(
            {
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                "requested_token_type": jag,
                "audience": ISSUER,
                "resource": UPSTREAM,
                "scope": "a",
                "subject_token": "id-token",
                "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
                "client_id": "bridge",
                "client_secret": "hush",
            },
            self.fetcher.form,
        )
        away = self.exchange(FetchFailed("away"), grant=Grant.ENTERPRISE, provider=provider)
        self.assertEqual(Unavailable("away"), self.result(away.identity_assertion(ISSUER, None, None)))

    def test_revoke(self) -> None:
        """The refresh token if there is one, since all goes with it; it has worked only if the server says so."""
        server = attrs.evolve(SERVER, revocation_endpoint=f"{ISSUER}/revoke")
        short = attrs.evolve(_TOKENS, refresh_token=None)
        for tokens, answer, form, revoked in (
            (_TOKENS, Document(200, b""), {"token": "refresh-1", "token_type_hint": "refresh_token"}, True),
            (short, Document(200, b""), {"token": "access-1", "token_type_hint": "access_token"}, True),
            (_TOKENS, Document(503, b""), {"token": "refresh-1", "token_type_hint": "refresh_token"}, False),
            (_TOKENS, FetchFailed("away"), {"token": "refresh-1", "token_type_hint": "refresh_token"}, False),
        ):
            said = self.result(self.exchange(answer).revoke(server, CLIENT, tokens))

            self.assertEqual((revoked, {**form, "client_id": "client-1"}), (said, self.fetcher.form))
        self.assertEqual(False, self.result(self.exchange().revoke(SERVER, CLIENT, _TOKENS)))
