"""The Python client of Tollhouse: send usage events without ever blocking the app, read meters and bills back, do jobs."""

from tollhouse_client.client import Client
from tollhouse_client.errors import TollhouseError, Unreachable
from tollhouse_client.job import Job, JobFile
from tollhouse_client.outcome import Lost, Permanent, Result, Skip
from tollhouse_client.stats import Stats
from tollhouse_client.version import VERSION as __version__
from tollhouse_client.worker import Worker

__all__ = [
    "Client",
    "Job",
    "JobFile",
    "Lost",
    "Permanent",
    "Result",
    "Skip",
    "Stats",
    "TollhouseError",
    "Unreachable",
    "Worker",
    "__version__",
]
