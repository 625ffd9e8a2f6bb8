"""
An authorization server and a resource that it guards, for tests: real HTTP on loopback, strict about what the
specifications want of a client, with rotating refresh tokens whose reuse revokes the family.

A refresh token is void from the moment that an access token got with it is first used, or a newer refresh token is:
who loses an answer may ask again, who uses an old one later is a thief.
"""

from __future__ import annotations

import itertools
import json
from base64 import b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode

import attrs
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

_Answer = tuple[int, Any]


@attrs.define(eq=False)
class Family:
    """Everything that came of one consent."""

    client: str
    scope: str
    resource: str
    generation: int = 1
    used: int = 0
    revoked: bool = False


@attrs.define(eq=False)
class Model:
    """
    What the server knows and how it behaves; tests set it as they like.

    @ivar seen: how often each thing happened.
    @ivar forms: what came to the token endpoint.
    """

    base: str = ""
    lifetime: float = 3600.0
    now: Callable[[], float] = lambda: 0.0
    scope: str | None = "mcp"
    needed: str | None = None
    metadata: dict[str, Any] = attrs.Factory(dict)
    resource_metadata: dict[str, Any] = attrs.Factory(dict)
    issuer_in_response: bool = True
    consent: bool = True
    device_approved: bool = False
    static_clients: dict[str, str] = attrs.Factory(dict)
    refuse: dict[str, _Answer] = attrs.Factory(dict)
    seen: Counter[str] = attrs.Factory(Counter)
    forms: list[dict[str, str]] = attrs.Factory(list)
    answers: dict[str, str] = attrs.Factory(dict)
    clients: dict[str, dict[str, Any]] = attrs.Factory(dict)
    codes: dict[str, dict[str, str]] = attrs.Factory(dict)
    access: dict[str, tuple[Family, int, float]] = attrs.Factory(dict)
    refresh: dict[str, tuple[Family, int]] = attrs.Factory(dict)
    devices: dict[str, dict[str, str]] = attrs.Factory(dict)
    sessions: set[str] = attrs.Factory(set)
    _numbers: Any = attrs.Factory(lambda: itertools.count(1))

    @property
    def upstream(self) -> str:
        """The URL of the resource."""
        return f"{self.base}/mcp"

    def fresh(self, kind: str) -> str:
        """Another one each time, also after a restart of the client."""
        return f"{kind}-{next(self._numbers)}-{sha256(f'{kind}{id(self)}'.encode()).hexdigest()[:8]}"

    # Metadata.

    def resource_document(self) -> _Answer:
        """RFC 9728."""
        said = {"resource": self.upstream, "authorization_servers": [self.base], **self.resource_metadata}
        return 200, {name: value for name, value in said.items() if value is not None}

    def server_document(self) -> _Answer:
        """RFC 8414."""
        said = {
            "issuer": self.base,
            "authorization_endpoint": f"{self.base}/authorize",
            "token_endpoint": f"{self.base}/token",
            "registration_endpoint": f"{self.base}/register",
            "revocation_endpoint": f"{self.base}/revoke",
            "device_authorization_endpoint": f"{self.base}/device",
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
            "authorization_response_iss_parameter_supported": True,
            **self.metadata,
        }
        return 200, {name: value for name, value in said.items() if value is not None}

    # Endpoints.

    def register(self, document: Mapping[str, Any]) -> _Answer:
        """RFC 7591."""
        assert document["application_type"] == "native", document
        assert document["redirect_uris"][0].startswith("http://127.0.0.1:"), document
        client_id = self.fresh("client")
        self.clients[client_id] = dict(document)
        return 201, {**document, "client_id": client_id}

    def authorize(self, params: Mapping[str, str]) -> _Answer:
        """RFC 6749, 4.1.1; the human has agreed, or not, before."""
        client = self.clients.get(params["client_id"])
        if client is None:
            return 400, {"error": "no such client"}
        assert params["redirect_uri"] in client["redirect_uris"], params
        assert params["response_type"] == "code" and params["code_challenge_method"] == "S256", params
        assert params["resource"] == self.resource_document()[1]["resource"], params
        answer = {"state": params["state"]}
        if self.consent:
            code = self.fresh("code")
            self.codes[code] = dict(params)
            answer["code"] = code
        else:
            answer |= {"error": "access_denied", "error_description": "The human said no."}
        if self.issuer_in_response:
            answer["iss"] = self.base
        return 302, f"{params['redirect_uri']}?{urlencode(answer)}"

    def token(self, form: dict[str, str], authorization: str) -> _Answer:
        """RFC 6749, 3.2."""
        self.forms.append(form)
        client_id = self._client(form, authorization)
        if client_id is None:
            return 401, {"error": "invalid_client"}
        match form["grant_type"]:
            case "authorization_code":
                return self._code(form, client_id)
            case "refresh_token":
                return self._refresh(form, client_id)
            case "client_credentials":
                assert form["resource"], form
                return self._grant(Family(client_id, form.get("scope", ""), form["resource"]), renewable=False)
            case "urn:ietf:params:oauth:grant-type:device_code":
                return self._device_code(form, client_id)
        return 400, {"error": "unsupported_grant_type"}

    def device(self, form: Mapping[str, str]) -> _Answer:
        """RFC 8628, 3.1."""
        code = self.fresh("device")
        self.devices[code] = dict(form)
        return 200, {
            "device_code": code,
            "user_code": "WDJB-MJHT",
            "verification_uri": f"{self.base}/activate",
            "expires_in": 600,
            "interval": 1,
        }

    def revoke(self, form: Mapping[str, str]) -> _Answer:
        """RFC 7009."""
        token = form["token"]
        found = self.refresh.get(token) or self.access.get(token)
        if found is not None:
            found[0].revoked = True
        return 200, {}

    def _client(self, form: Mapping[str, str], authorization: str) -> str | None:
        if authorization.startswith("Basic "):
            client_id, _, secret = b64decode(authorization[6:]).decode().partition(":")
            client_id, secret = unquote_plus(client_id), unquote_plus(secret)
            return client_id if self.static_clients.get(client_id) == secret else None
        client_id = form.get("client_id", "")
        if client_id in self.static_clients:
            return client_id if self.static_clients[client_id] == form.get("client_secret") else None
        return client_id if client_id in self.clients else None

    def _code(self, form: Mapping[str, str], client_id: str) -> _Answer:
        asked = self.codes.pop(form["code"], None)
        if asked is None or asked["client_id"] != client_id or asked["redirect_uri"] != form["redirect_uri"]:
            return 400, {"error": "invalid_grant", "error_description": "no such code"}
        challenge = urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if challenge != asked["code_challenge"] or asked["resource"] != form["resource"]:
            return 400, {"error": "invalid_grant", "error_description": "not the one who began"}
        return self._grant(Family(client_id, asked.get("scope", ""), form["resource"]))

    def _refresh(self, form: Mapping[str, str], client_id: str) -> _Answer:
        found = self.refresh.get(form["refresh_token"])
        if found is None or found[0].client != client_id or found[0].revoked:
            return 400, {"error": "invalid_grant", "error_description": "no such token"}
        family, generation = found
        assert form["resource"] == family.resource, form
        if generation < family.used:
            self.seen["reuse"] += 1
            family.revoked = True
            return 400, {"error": "invalid_grant", "error_description": "reuse"}
        family.used = generation
        family.generation += 1
        return self._grant(family)

    def _device_code(self, form: Mapping[str, str], client_id: str) -> _Answer:
        asked = self.devices.get(form["device_code"])
        if asked is None:
            return 400, {"error": "expired_token"}
        if not self.device_approved:
            return 400, {"error": "authorization_pending"}
        del self.devices[form["device_code"]]
        return self._grant(Family(client_id, asked.get("scope", ""), asked["resource"]))

    def _grant(self, family: Family, renewable: bool = True) -> _Answer:
        access, refresh = self.fresh("access"), self.fresh("refresh")
        self.access[access] = family, family.generation, self.now() + self.lifetime
        said = {"access_token": access, "token_type": "Bearer", "expires_in": self.lifetime, "scope": family.scope}
        if renewable:
            self.refresh[refresh] = family, family.generation
            said["refresh_token"] = refresh
        return 200, said

    # The resource.

    def admitted(self, authorization: str) -> tuple[int, str]:
        """Whether a request is let in: the status, and the challenge if not."""
        where = f'resource_metadata="{self.base}/.well-known/oauth-protected-resource/mcp"'
        wanted = f', scope="{self.scope}"' if self.scope else ""
        found = self.access.get(authorization.removeprefix("Bearer "))
        if found is None:
            return 401, f"Bearer {where}{wanted}"
        family, generation, until = found
        if family.revoked or self.now() >= until or generation < family.used:
            return 401, f'Bearer error="invalid_token", {where}{wanted}'
        family.used = max(family.used, generation)
        if self.needed is not None and not set(self.needed.split()) <= set(family.scope.split()):
            return 403, f'Bearer error="insufficient_scope", scope="{self.needed}", {where}'
        return 200, ""

    def message(self, message: Mapping[str, Any]) -> Any:
        """What an MCP server says to this; L{None}: nothing."""
        match message.get("method"):
            case "initialize":
                return {
                    "protocolVersion": message["params"]["protocolVersion"],
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "guarded", "version": "1"},
                }
            case "tools/list":
                return {"tools": [{"name": "whoami", "inputSchema": {"type": "object"}}]}
            case "tools/call":
                self.seen["call"] += 1
                return {"content": [{"type": "text", "text": f"call {self.seen['call']}"}]}
            case "ping":
                return {}
        return None


class _Server(Resource):
    isLeaf = True

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._model = model

    def render(self, request: Request) -> bytes:
        path = request.path.decode()
        self._model.seen[path] += 1
        if path in self._model.refuse:
            return self._say(request, *self._model.refuse[path])
        if path == "/mcp":
            return self._guarded(request)
        return self._say(request, *self._answer(request, path))

    def _answer(self, request: Request, path: str) -> _Answer:
        model = self._model
        authorization = (request.getHeader(b"authorization") or b"").decode()
        assert request.content is not None
        form = dict(parse_qsl(request.content.getvalue().decode())) if request.method == b"POST" else {}
        match path:
            case "/.well-known/oauth-protected-resource/mcp":
                return model.resource_document()
            case "/.well-known/oauth-authorization-server":
                return model.server_document()
            case "/register":
                return model.register(json.loads(request.content.getvalue()))
            case "/authorize":
                return model.authorize(dict(parse_qsl(request.uri.decode().partition("?")[2])))
            case "/token":
                return model.token(form, authorization)
            case "/device":
                return model.device(form)
            case "/revoke":
                return model.revoke(form)
        return 404, {}

    def _guarded(self, request: Request) -> bytes:
        status, challenge = self._model.admitted((request.getHeader(b"authorization") or b"").decode())
        if status != 200:
            request.setHeader(b"WWW-Authenticate", challenge.encode())
            return self._say(request, status, {"error": "denied"})
        if request.method != b"POST":
            return self._say(request, 405, {})
        assert request.content is not None
        message = json.loads(request.content.getvalue())
        result = self._model.message(message)
        if "id" not in message:
            request.setResponseCode(202)
            return b""
        if result is None:
            return self._say(
                request, 200, {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "no"}}
            )
        return self._say(request, 200, {"jsonrpc": "2.0", "id": message["id"], "result": result})

    def _say(self, request: Request, status: int, said: Any) -> bytes:
        request.setResponseCode(status)
        if status == 302:
            request.setHeader(b"Location", said.encode())
            return b""
        request.setHeader(b"Content-Type", b"application/json")
        return json.dumps(said).encode()


def serve(reactor: Any, model: Model, port: int = 0) -> Any:
    """
    Listen on loopback.

    @return: the listening port; C{model.base} is set.
    """
    site = Site(_Server(model))
    site.noisy = False
    listening = reactor.listenTCP(port, site, interface="127.0.0.1")
    model.base = f"http://127.0.0.1:{listening.getHost().port}"
    return listening
