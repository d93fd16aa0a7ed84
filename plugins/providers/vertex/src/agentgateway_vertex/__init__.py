"""Vertex AI as a provider."""
