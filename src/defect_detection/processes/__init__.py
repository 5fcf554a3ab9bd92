"""Identify and end processes, and report the progress of long work."""
