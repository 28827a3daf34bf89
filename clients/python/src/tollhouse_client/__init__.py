"""The Python client of Tollhouse: send usage events without ever blocking the app, and read meters and bills back."""

from tollhouse_client.client import Client
from tollhouse_client.errors import TollhouseError
from tollhouse_client.stats import Stats
from tollhouse_client.version import VERSION as __version__

__all__ = ["Client", "Stats", "TollhouseError", "__version__"]
