"""The control plane wired to the bot: its eyes (`plant.py`), hand, probes, ways to people."""
