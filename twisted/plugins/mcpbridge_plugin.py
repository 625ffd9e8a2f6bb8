"""
Makes C{twistd mcpbridge} known. Nothing else belongs here: twistd reads every plugin at every start.
"""

from twisted.application.service import ServiceMaker

mcpbridge = ServiceMaker(
    "mcpbridge",
    "mcpbridge.tap",
    "The daemon that owns all MCP connections and serves them to stdio clients.",
    "mcpbridge",
)
