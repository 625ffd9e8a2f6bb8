"""
The resources, prompts and completions that the official conformance suite wants of a server.
"""

import json
import re
from typing import Any

import mcp_types as types
from mcp import MCPError

from tests.conformance.interview import Interview, form
from tests.conformance.tools import PNG, STRING, embedded

RESOURCES = [
    types.Resource(uri="test://static-text", name="static text", description="A text", mime_type="text/plain"),
    types.Resource(uri="test://static-binary", name="static binary", description="A picture", mime_type="image/png"),
    types.Resource(
        uri="test://watched-resource", name="watched", description="A text that changes", mime_type="text/plain"
    ),
]

TEMPLATES = [
    types.ResourceTemplate(
        uri_template="test://template/{id}/data", name="data", description="Data by id", mime_type="application/json"
    ),
    types.ResourceTemplate(uri_template="test://other/{name}", name="other", description="Nothing is there"),
]

_TEMPLATE = re.compile("test://template/([^/]+)/data")


def contents(uri: str) -> types.TextResourceContents | types.BlobResourceContents | None:
    """What a resource holds, or nothing if there is none of that name."""
    if uri == "test://static-binary":
        return types.BlobResourceContents(uri=uri, mime_type="image/png", blob=PNG)
    if uri == "test://static-text":
        words = "This is the content of the static text resource."
        return types.TextResourceContents(uri=uri, mime_type="text/plain", text=words)
    if uri == "test://watched-resource":
        return types.TextResourceContents(uri=uri, mime_type="text/plain", text="Watched resource content")
    found = _TEMPLATE.fullmatch(uri)
    if found is None:
        return None
    data = json.dumps({"id": found[1], "templateTest": True, "data": f"Data for ID: {found[1]}"})
    return types.TextResourceContents(uri=uri, mime_type="application/json", text=data)


def _prompt(name: str, *arguments: str) -> types.Prompt:
    described = [types.PromptArgument(name=each, description="for the test", required=True) for each in arguments]
    return types.Prompt(name=name, description="For the test", arguments=described or None)


PROMPTS = [
    _prompt("test_simple_prompt"),
    _prompt("test_prompt_with_arguments", "arg1", "arg2"),
    _prompt("test_prompt_with_embedded_resource", "resourceUri"),
    _prompt("test_prompt_with_image"),
    _prompt("test_input_required_result_prompt"),
]

COMPLETIONS = ["paris", "park", "party", "testing"]


def _says(content: Any) -> types.PromptMessage:
    if isinstance(content, str):
        content = types.TextContent(type="text", text=content)
    return types.PromptMessage(role="user", content=content)


async def prompt_messages(interview: Interview, name: str, arguments: dict[str, str]) -> list[types.PromptMessage]:
    """
    A prompt.

    @raise MCPError: there is no such prompt.
    @raise Unanswered: it needs to know more.
    """
    if name == "test_simple_prompt":
        return [_says("This is a simple prompt for testing.")]
    if name == "test_prompt_with_arguments":
        return [_says(f"Prompt with arguments: arg1='{arguments['arg1']}', arg2='{arguments['arg2']}'")]
    if name == "test_prompt_with_embedded_resource":
        words = "Embedded resource content for testing."
        resource = embedded(arguments["resourceUri"], "text/plain", words)
        return [_says(resource), _says("Please process the embedded resource above.")]
    if name == "test_prompt_with_image":
        picture = types.ImageContent(type="image", data=PNG, mime_type="image/png")
        return [_says(picture), _says("Please analyze the image above.")]
    if name == "test_input_required_result_prompt":
        question = form("What context should the prompt use?", context=STRING)
        answers = await interview.ask(user_context=question)
        return [_says(f"The context is: {answers['user_context'].get('content', {}).get('context')}")]
    raise MCPError(code=-32602, message=f"Unknown prompt: {name}")
