"""The Model Context Protocol: clients of every version in front of servers of every version."""
