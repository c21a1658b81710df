"""Which rules hold for a message: the user's, the channel's, the server's, then the bot's."""
