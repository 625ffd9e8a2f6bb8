"""
Transports toward MCP servers: here we are the client. One module per transport.
"""
