"""The operator's page: `routes.py` serves it, `service.py` keeps it up to date."""
