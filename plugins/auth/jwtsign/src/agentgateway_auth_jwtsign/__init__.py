"""JSON Web Tokens of the gateway's own, for upstreams."""
