"""Records in one database: inspections, feedback, keys and jobs."""
