"""The edges to the outside: Discord, the models, the host."""
