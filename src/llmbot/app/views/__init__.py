"""What operators see of the running bot. `all_views.py` puts all views together."""
