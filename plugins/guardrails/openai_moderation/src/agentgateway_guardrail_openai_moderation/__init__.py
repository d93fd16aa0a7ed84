"""The guard `openAIModeration`: refuses what OpenAI's moderation endpoint flags."""
