"""The policy `cors`: which web pages may use the gateway from a browser."""
