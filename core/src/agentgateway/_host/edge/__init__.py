"""The HTTP/1.1 edge: requests from a socket's callbacks to the pipeline and back, without a task."""
