"""Sense and assess: sensors, readings, and the conditions that last."""
