"""Amazon Bedrock as a provider, and its Converse API as a dialect."""
