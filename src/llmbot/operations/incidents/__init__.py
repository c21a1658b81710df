"""Incidents: kept in the journal, reported, and told to people."""
