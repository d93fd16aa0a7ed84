"""Vendors whose APIs are compatible with OpenAI's or Anthropic's, as providers."""
