"""The two documents that every repository carries."""
