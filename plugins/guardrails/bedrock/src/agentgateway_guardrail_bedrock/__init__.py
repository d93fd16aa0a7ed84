"""The guard `bedrockGuardrails`: a guardrail of Amazon Bedrock masks or refuses."""
