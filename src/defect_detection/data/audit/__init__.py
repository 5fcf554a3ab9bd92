"""Look at the data before anything learns from it: measure each image once, then say what is wrong, and how badly."""
