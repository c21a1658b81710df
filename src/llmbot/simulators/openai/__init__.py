"""A simulated OpenAI-compatible provider: `service.SimulatedOpenAI` is its face."""
