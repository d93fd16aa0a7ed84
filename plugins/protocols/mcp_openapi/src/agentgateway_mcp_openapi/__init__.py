"""HTTP APIs as MCP tools: the target kind `openapi`."""
