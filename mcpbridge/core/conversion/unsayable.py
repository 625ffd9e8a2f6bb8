"""
What the words of a revision have no room for.
"""

from __future__ import annotations


class Unsayable(Exception):
    """There is no way to say this to the receiver. The text goes on after "nobody can"."""
