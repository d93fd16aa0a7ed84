"""The policy `localRateLimit`: how many requests, or tokens of a model, in how much time."""
