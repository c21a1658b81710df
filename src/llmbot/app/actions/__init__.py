"""What operators do to the running bot; `table.py` puts all of it together."""
