"""Simulated Discord and Gemini on real sockets: for the demo, for drills and for tests.

Rule: nothing here imports the bot's code, and of the bot only the command line starts it. What a
simulator believes of Discord or Gemini is thereby a second opinion, not an echo of the bot's own.
"""
