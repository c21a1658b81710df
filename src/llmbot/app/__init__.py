"""Settings, construction, supervision, telemetry: what puts the parts together."""
