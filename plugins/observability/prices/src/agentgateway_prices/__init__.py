"""Prices of models from genai-prices' offline data, as a catalogue of agentgateway's."""
