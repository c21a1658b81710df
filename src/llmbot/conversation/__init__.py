"""The conversation: from a Discord event to the delivered answer. Read `pipeline.py` first."""
