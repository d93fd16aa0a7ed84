"""The credential `aws` of `backendAuth`: requests signed with AWS Signature Version 4."""
