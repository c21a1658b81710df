"""The command line; `main.py` puts the commands together."""
