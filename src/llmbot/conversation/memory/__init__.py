"""What is remembered of conversations, for how long, and how people have it deleted."""
