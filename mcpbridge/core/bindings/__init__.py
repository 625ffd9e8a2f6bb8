"""
The bindings: the rules of each transport of MCP, as decisions that someone else performs.
"""
