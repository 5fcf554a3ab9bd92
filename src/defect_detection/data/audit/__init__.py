"""Audit the data before training: measure each image once, then list findings by severity."""
