"""Discord behind discord.py: `gateway.py` listens, `rest.py` speaks."""
