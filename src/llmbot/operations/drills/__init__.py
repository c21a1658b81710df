"""Drills: the catalogue of faults to practise on, and how the tries went."""
