"""Identify and end processes, exchange messages with them, and report the progress of long work."""
