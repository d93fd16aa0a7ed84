"""The policies `requestHeaderModifier` and `responseHeaderModifier`."""
