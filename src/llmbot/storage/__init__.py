"""Mechanisms that keep what was accepted: files, documents, databases. They know no story."""
