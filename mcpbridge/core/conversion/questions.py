"""
What a server asks a client of another revision, and what the client says to it.

Not every question can be put to every client. One that cannot is answered in the client's place, with the error that
clients give to what they do not support.
"""

from __future__ import annotations

import attrs
from msgspec import Raw

from mcpbridge.core.conversion.elicitation import elicitation_for
from mcpbridge.core.conversion.sampling import sampled_for, sampling_for
from mcpbridge.core.conversion.unsayable import Unsayable
from mcpbridge.core.errors import INTERNAL_ERROR, INVALID_PARAMS, ErrorObject
from mcpbridge.core.events import InputRequest


def question_for(version: str, question: InputRequest, elicitation_id: str = "") -> InputRequest | ErrorObject:
    """
    A server's question.

    @param version: the revision that the client speaks.
    @param elicitation_id: what an elicitation by URL is called if the server gave it no name and the client needs one;
        unique for this client.
    @return: the question to ask, or what to take for the client's answer.
    """
    if question.params is None:
        return question
    try:
        match question.method:
            case "elicitation/create":
                params = elicitation_for(version, question.params, elicitation_id)
            case "sampling/createMessage":
                params = sampling_for(version, question.params)
            case _:
                return question
    except Unsayable as impossible:
        # Client Features, Elicitation and Sampling, Error Handling.
        text = f"The client speaks protocol version {version}, in which nobody can {impossible}"
        return ErrorObject(INVALID_PARAMS, text)
    return question if params is question.params else attrs.evolve(question, params=params)


def answer_for(version: str, method: str, answer: Raw) -> Raw | ErrorObject:
    """
    A client's result to a question.

    @param version: the revision that the server speaks.
    @param method: of the question.
    """
    if method != "sampling/createMessage":
        return answer
    try:
        return sampled_for(version, answer)
    except Unsayable as impossible:
        text = f"The client has answered, but protocol version {version}, which this server speaks, cannot {impossible}"
        return ErrorObject(INTERNAL_ERROR, text)
