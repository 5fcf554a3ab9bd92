"""The HTTP API: Flask views over the same functions that the command line calls."""
