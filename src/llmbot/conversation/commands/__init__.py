"""The slash commands and their answers."""
