"""The independent judge: real processes, a simulated Discord and Gemini, and a count at the end.

Nothing here imports the bot. It is started as a child process by its own command line, is told
where Discord and Gemini are by its environment, and is judged by what stands in the simulated
channels alone.
"""
