"""The control plane: sense, assess, diagnose, permit, act, validate, report."""
