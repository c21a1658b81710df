"""The page of the simulated Discord: talk to the bot, break things, watch it heal."""
