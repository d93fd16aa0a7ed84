"""OAuth for MCP: the policy `mcpAuthentication`."""
