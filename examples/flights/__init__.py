"""A year of flights out of New York as usage: metered, priced, billed."""
