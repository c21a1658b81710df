"""Messages that were missed: found after a gap and put through the same claim, in order."""
