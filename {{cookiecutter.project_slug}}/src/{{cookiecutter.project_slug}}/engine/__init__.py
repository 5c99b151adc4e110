"""The engineering: everything about a run that is neither your math nor your data."""
