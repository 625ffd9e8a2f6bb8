"""
Being let in: performs what L{mcpbridge.core.oauth} decides, and keeps what comes of it.
"""
