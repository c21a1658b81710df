"""Messages that operators send to test the bot: through the real pipeline, to nobody's channel."""
