"""Stand-ins for the outside, and a conversation put together around them."""
