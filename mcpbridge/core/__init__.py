"""
The translation: everything mcpbridge decides about MCP, without a reactor, a clock or randomness of its own.
"""
