"""A simulated Gemini REST API: `service.SimulatedGemini` is its face."""
