"""
What a server asks the user (client/elicitation).

Before 2025-11-25 there are only forms, and a field of a form is a text, a number, a truth or one choice out of several.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.shapes import listed, opened
from mcpbridge.core.conversion.unsayable import Unsayable
from mcpbridge.core.revisions import ELICITATION_MODES, STATELESS

_URL = "url"


def elicitation_for(version: str, params: Raw, elicitation_id: str) -> Raw:
    """
    The params of C{elicitation/create}.

    @param version: the revision that the client speaks.
    @param elicitation_id: what the question is called if it sends the user to a URL and has no name.
    @raise Unsayable: the client knows no such question.
    """
    found = opened(params)
    by_url = jsonrpc.decode_string(found.get("mode")) == _URL
    if version < ELICITATION_MODES:
        if by_url:
            raise Unsayable("send the user to a URL")
        return _plain_form(params, found)
    if not by_url:
        return params
    if version >= STATELESS:
        # Names are for telling that it is done, for which this era has no word.
        return _without_name(params, found)
    if "elicitationId" in found:
        return params
    return jsonrpc.assemble({**found, "elicitationId": jsonrpc.value(elicitation_id)})


def _without_name(params: Raw, found: dict[str, Raw]) -> Raw:
    if found.pop("elicitationId", None) is None:
        return params
    return jsonrpc.assemble(found)


def _plain_form(params: Raw, found: dict[str, Raw]) -> Raw:
    schema = opened(found.get("requestedSchema"))
    fields = opened(schema.get("properties"))
    plain = {name: _plain_field(name, field) for name, field in fields.items()}
    if all(plain[name] is field for name, field in fields.items()):
        if "mode" not in found:
            return params
    else:
        schema["properties"] = jsonrpc.assemble(plain)
        found["requestedSchema"] = jsonrpc.assemble(schema)
    found.pop("mode", None)
    return jsonrpc.assemble(found)


def _plain_field(name: str, field: Raw) -> Raw:
    found = opened(field)
    kind = jsonrpc.decode_string(found.get("type"))
    if kind == "array":
        raise Unsayable(f"let the user choose several at once, as the field {name!r} wants")
    choices = [opened(choice) for choice in listed(found.get("oneOf"))]
    if kind != "string" or not choices or not all(map(_is_choice, choices)):
        return field
    del found["oneOf"]
    found["enum"] = jsonrpc.array(choice["const"] for choice in choices)
    found["enumNames"] = jsonrpc.array(choice.get("title", choice["const"]) for choice in choices)
    return jsonrpc.assemble(found)


def _is_choice(choice: Mapping[str, Raw]) -> bool:
    return jsonrpc.decode_string(choice.get("const")) is not None
