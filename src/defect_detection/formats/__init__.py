"""Read and write the data sets of other tools. Each format is a module with ``read`` and ``write``; `table` lists them."""
