"""Bytes in, arrays out: checkpoints, networks and what they are shown."""
