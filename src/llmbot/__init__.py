"""llmbot: a Discord bot that answers with a large language model and cannot be kept down."""

__version__ = "0.1.0"
