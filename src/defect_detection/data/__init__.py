"""Images on disk: reading, labels, parts, splits, caches and the audit."""
