"""The policy `jwtAuth`: clients show a token that an issuer signed."""
