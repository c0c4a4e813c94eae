"""Checkpoints on the hub and at http(s) addresses, of which only the needed bytes are fetched."""
