"""
mcpbridge: one daemon that owns every MCP connection, and a relay so thin that a client's start costs nothing.

This module imports nothing: the relay pays for whatever is imported here.
"""
