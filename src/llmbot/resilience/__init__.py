"""Mechanisms that keep trouble small: breakers, limits, retries, locks. They know no story."""
