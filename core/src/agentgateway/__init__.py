"""A gateway between AI agents and the models, tools and agents they call."""

from importlib.metadata import version

__version__ = version("agentgateway")
