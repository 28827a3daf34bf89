"""Tollhouse: the back office of a SaaS app in one Python process."""

__version__ = "0.1.0"
