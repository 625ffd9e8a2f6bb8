"""
Which mcpbridge this is. Read by the build as well, so it imports nothing.
"""

VERSION = "0.1.0"
