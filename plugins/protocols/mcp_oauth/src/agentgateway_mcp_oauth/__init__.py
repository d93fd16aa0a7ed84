"""OAuth for MCP: the policy `mcpAuthentication`, and the credential `mcpOAuth` of `backendAuth`."""
