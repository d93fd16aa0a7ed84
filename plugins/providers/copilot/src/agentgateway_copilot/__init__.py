"""GitHub Copilot as a provider."""
