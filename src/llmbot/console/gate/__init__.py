"""Who may call the operator API: decided before any handler runs."""
