"""
JSON for tests of properties.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

#: Texts with what breaks readers more often than chance would have it.
texts = st.text(max_size=8) | st.sampled_from(["\ud83d", "\udc00x", "\u2028", "\\", '"', "\\ud800"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(2**63, 2**200) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)

#: How it may be written.
layouts: list[dict[str, Any]] = [{}, {"indent": 1}, {"separators": (" ,", " : ")}, {"ensure_ascii": False}]


def written(value: object, layout: dict[str, Any]) -> str:
    """A JSON text of this value. A lone surrogate has no UTF-8, so it stays an escape."""
    try:
        text = json.dumps(value, **layout).replace("Infinity", "1e999")
        text.encode("utf-8")
        return text
    except UnicodeEncodeError:
        return json.dumps(value).replace("Infinity", "1e999")
