"""Days of traffic in seconds: the real bot on a simulated disk, network, Discord and model.

`python -m tests.simulation --seeds 0:1000 --messages 1000` runs many lives; each seed is one world
with its own weather of kills, storms and failures. The same seed gives the same trace.
"""
