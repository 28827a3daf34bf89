"""The version, which the server sees in `User-Agent`."""

VERSION = "0.1.0"
