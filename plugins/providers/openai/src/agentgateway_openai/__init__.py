"""OpenAI, and servers that speak its format or Anthropic's, as providers."""
