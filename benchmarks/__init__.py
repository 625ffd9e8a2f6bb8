"""What the bridge costs, measured from the outside, beside the direct connection and mcp-remote (see README.md)."""
