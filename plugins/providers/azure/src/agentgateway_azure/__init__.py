"""Azure OpenAI and Azure AI Foundry as a provider."""
