"""The operator's edges: HTTP API, command line, dashboard."""
