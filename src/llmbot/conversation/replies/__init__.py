"""A reply on its way to Discord: its text made equal to what stands there."""
