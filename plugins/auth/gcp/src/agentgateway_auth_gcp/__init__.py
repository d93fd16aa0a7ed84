"""Google Cloud credentials for upstreams."""
