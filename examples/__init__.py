"""Small apps that run for real against a Tollhouse."""
