"""Benchmarks that anyone can run again: ``make bench``, or ``python -m benchmarks --help``. They measure and never judge."""
