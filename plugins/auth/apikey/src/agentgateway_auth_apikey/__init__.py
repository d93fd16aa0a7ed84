"""The policy `apiKey`: clients show a key, and may call the models it names."""
