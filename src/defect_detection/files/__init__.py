"""Files and folders: written whole or not at all, replaced together, and closed to others where they are secret."""
