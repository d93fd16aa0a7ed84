"""The guard `regex`: personal data and your own patterns, masked or refused."""
