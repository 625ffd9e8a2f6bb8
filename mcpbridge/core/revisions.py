"""
What a revision of the protocol can say that the ones before it cannot.

A revision is its date, so that texts compare as the revisions do. Each name below is the first revision with that
thing; whoever receives of an earlier one must be told in other words. A new revision that changes a payload adds a
name here, and a rule where the name is used.
"""

from __future__ import annotations

from typing import Final

#: C{audio} content.
AUDIO: Final = "2025-03-26"

#: C{completions} among the capabilities of a server. Before, every server with something to complete may have had it.
COMPLETIONS: Final = "2025-03-26"

#: C{resource_link} content.
RESOURCE_LINK: Final = "2025-06-18"

#: C{structuredContent}, an object, and C{outputSchema}.
STRUCTURED: Final = "2025-06-18"

#: C{elicitation/create}, with a form of fields that are neither lists nor have titled choices.
ELICITATION: Final = "2025-06-18"

#: C{context} in C{completion/complete}.
COMPLETION_CONTEXT: Final = "2025-06-18"

#: Elicitation by URL, C{mode}, titled choices, several choices at once; the error -32042.
ELICITATION_MODES: Final = "2025-11-25"

#: C{tools} and lists of content in C{sampling/createMessage}.
SAMPLING_TOOLS: Final = "2025-11-25"

#: Tasks of the session era: C{execution} of a tool, C{task} in params, the capability. They end with L{STATELESS}.
TASKS: Final = "2025-11-25"

#: The stateless era: structured content is any JSON value, and an output schema any schema.
STATELESS: Final = "2026-07-28"
