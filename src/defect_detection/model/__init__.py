"""The model: trunks, heads, graph, the bundle with its card, and exports."""
