"""Images on disk: reading, labels, groups, splits, caches and the audit."""
