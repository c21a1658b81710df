"""The durable database: `contract.py` says what it is; SQLite and PostgreSQL stand behind it."""
