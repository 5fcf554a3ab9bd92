"""Processes: how one is told from others and ended, and how long work says what it is doing."""
