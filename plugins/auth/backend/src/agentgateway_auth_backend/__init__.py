"""The policy `backendAuth`, and its kinds `key` and `passthrough`."""
