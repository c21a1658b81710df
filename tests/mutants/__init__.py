"""Realistic bugs, put in one at a time: each must be caught by the tests that are named for it."""
