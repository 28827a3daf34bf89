"""Manga to motion: a worker that turns the pages of a comic into a film that goes from panel to panel."""
