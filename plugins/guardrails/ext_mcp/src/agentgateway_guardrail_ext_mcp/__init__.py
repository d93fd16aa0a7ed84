"""The policy `mcpGuardrails`: remote processors of MCP messages, over gRPC."""
