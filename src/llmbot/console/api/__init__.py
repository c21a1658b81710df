"""The operator API: `factory.py` puts it together, `server.py` serves it."""
