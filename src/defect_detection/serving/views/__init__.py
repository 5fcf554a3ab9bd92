"""The views: each translates between HTTP and one function of the package."""
