"""The guard `webhook`: a web service of the operator's own decides."""
