"""Write files and folders atomically, replace them together, and restrict their permissions."""
