"""How services live: the tree, its supervisor, the restart brake, recovery mode, the watchdog."""
