"""Drills as they are run from outside: the demo, the acts, the runner that scores them."""
