"""
Enterprise-managed authorization: an identity provider vouches for its user, and no browser is needed at the MCP server
(extension C{io.modelcontextprotocol/enterprise-managed-authorization}; RFC 8693 and RFC 7523).
"""

from __future__ import annotations

from mcpbridge.core.oauth.documents import json_object, text_member
from mcpbridge.core.oauth.errors import TokenRefused
from mcpbridge.core.oauth.tokens import Denied, Unavailable, usable
from mcpbridge.core.printable import printable

#: What is asked of the identity provider.
ID_JAG = "urn:ietf:params:oauth:token-type:id-jag"

#: What is shown to it.
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 - the name of a kind of token
SAML2 = "urn:ietf:params:oauth:token-type:saml2"


def read_exchange_response(status: int, body: bytes) -> str | Denied | Unavailable:
    """
    The identity assertion in an answer of the identity provider (RFC 8693, 2.2).

    @raise TokenRefused: it is another kind of token, or none.
    """
    document = json_object(body)
    error = None if document is None else text_member(document, "error")
    if document is not None and error is not None and status < 500:
        return Denied(printable(error, 64), printable(text_member(document, "error_description") or "", 300))
    if status in (408, 425, 429) or status >= 500:
        return Unavailable(f"the identity provider answered HTTP {status}")
    if status != 200 or document is None:
        return Denied(f"http_{status}", "the identity provider gives no reason")
    kind, assertion = text_member(document, "issued_token_type"), text_member(document, "access_token")
    if kind != ID_JAG:
        raise TokenRefused(f"the identity provider gave a token of the kind {printable(str(kind), 100)}, not {ID_JAG}")
    if assertion is None or not usable(assertion):
        raise TokenRefused("the identity provider gave an assertion that cannot be one")
    return assertion
