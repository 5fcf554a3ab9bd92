"""What the line saw and what people said about it: inspections, feedback, keys and jobs, in one database."""
