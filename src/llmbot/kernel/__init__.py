"""What every layer stands on: clock, ids, errors, events, redaction. Standard library only."""
