"""Text as Discord takes it: where it breaks, what is never broken, what users are told."""
