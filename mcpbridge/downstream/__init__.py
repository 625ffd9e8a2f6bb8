"""
Transports toward MCP clients: here we are the server.
"""
