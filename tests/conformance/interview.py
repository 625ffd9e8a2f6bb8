"""
Questions of a server to its client, asked in the way of the era that the client speaks.

A tool is written once, straight ahead: C{answers = await interview.ask(name=...)}. In the session era that sends
requests
and waits; in the stateless era it ends the call with C{input_required}, and the retry runs the tool again, with the
answers of all earlier rounds in C{requestState} (which the SDK seals).
"""

import json
from collections.abc import Mapping
from typing import Any

import anyio
import mcp_types as types
from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

Context = ServerRequestContext[Any]
Question = types.ElicitRequest | types.CreateMessageRequest | types.ListRootsRequest
Answer = dict[str, Any]

_ANSWERS: dict[str, type[types.Result]] = {
    "elicitation/create": types.ElicitResult,
    "sampling/createMessage": types.CreateMessageResult,
    "roots/list": types.ListRootsResult,
}


class Unanswered(Exception):
    """The tool cannot go on; the call is answered with what it needs."""

    def __init__(self, result: types.InputRequiredResult) -> None:
        super().__init__("input required")
        self.result = result


def form(message: str, **fields: dict[str, Any]) -> types.ElicitRequest:
    """A form with these fields, all of them required."""
    schema = {"type": "object", "properties": fields, "required": list(fields)}
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(prompt: str, max_tokens: int = 100) -> types.CreateMessageRequest:
    """One sentence for the client's model."""
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[message], max_tokens=max_tokens)
    )


def is_modern(context: Context) -> bool:
    """Whether this request is of the stateless era."""
    return context.protocol_version in MODERN_PROTOCOL_VERSIONS


class Interview:
    """
    The questions and answers of one call.

    @ivar context: of the request that is being served.
    """

    def __init__(self, context: Context, params: types.InputResponseRequestParams) -> None:
        self.context = context
        self._known: dict[str, Answer] = json.loads(params.request_state) if params.request_state else {}
        for key, answer in (params.input_responses or {}).items():
            self._known[key] = answer.model_dump(by_alias=True, mode="json", exclude_none=True)

    @property
    def capabilities(self) -> types.ClientCapabilities:
        """What the client said that it can do."""
        return self.context.session.client_capabilities or types.ClientCapabilities()

    def demand(self, **wanted: Any) -> None:
        """
        Refuse a client that did not declare a capability.

        @raise MCPError: -32021 in the stateless era; the session era has no code for it.
        """
        missing = {name: value for name, value in wanted.items() if getattr(self.capabilities, name) is None}
        if not missing:
            return
        if is_modern(self.context):
            raise MCPError(-32021, "The client lacks a capability", {"requiredCapabilities": missing})
        raise MCPError(-32600, f"The client lacks {', '.join(missing)}")

    async def ask(self, *, stateful: bool = False, **questions: Question) -> dict[str, Answer]:
        """
        Ask all of these at once.

        @param stateful: give the client a C{requestState} even in the first round.
        @return: the answers by the keys of the questions.
        @raise Unanswered: stateless era, and some answers are not there yet.
        @raise MCPError: session era, and the client refused a question.
        """
        if not is_modern(self.context):
            return await self._send(questions)
        missing = {key: question for key, question in questions.items() if key not in self._known}
        if missing:
            state = json.dumps(self._known) if stateful else None
            raise Unanswered(types.InputRequiredResult(input_requests=missing, request_state=state))
        return {key: self._known[key] for key in questions}

    async def _send(self, questions: Mapping[str, Question]) -> dict[str, Answer]:
        answers: dict[str, Answer] = {}
        refused: list[MCPError] = []

        async def one(key: str, question: Question) -> None:
            try:
                result = await self.context.session.send_request(
                    question,
                    _ANSWERS[question.method],
                    metadata=ServerMessageMetadata(related_request_id=self.context.request_id),
                )
            except MCPError as error:
                refused.append(error)
            else:
                answers[key] = result.model_dump(by_alias=True, mode="json", exclude_none=True)

        async with anyio.create_task_group() as group:
            for key, question in questions.items():
                group.start_soon(one, key, question)
        if refused:
            raise refused[0]
        return answers
