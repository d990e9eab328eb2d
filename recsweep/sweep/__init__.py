"""Sweeps: studies whose trials are shared by workers, pruned, and resumed after any death."""
