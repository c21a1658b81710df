"""The durable record of every message: rows, states, story, and the check against the channels."""
