"""
What both generations of the official Python SDK have, under the names of 2.x: the one that is first on the path.
"""

try:
    import mcp_types as types
    from mcp import MCPError
except ImportError:  # 1.x
    from mcp import McpError as MCPError  # type: ignore[attr-defined,no-redef]  # of 1.x
    from mcp import types  # type: ignore[no-redef]  # of 1.x

__all__ = ["MCPError", "types"]
