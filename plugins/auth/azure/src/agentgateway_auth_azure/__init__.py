"""Microsoft Entra ID credentials for upstreams."""
