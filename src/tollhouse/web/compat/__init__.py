"""Other products' own routes, answered by ours, so that their clients work unchanged."""
