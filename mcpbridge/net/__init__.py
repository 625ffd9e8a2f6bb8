"""
Tools for the network that know nothing of MCP.
"""
