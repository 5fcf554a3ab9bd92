"""Images on disk, and what is known about them: reading, labels, groups, splits, caches."""
