"""The kinds of sources, and which addresses are of a database; light, so that a backup of files loads no database's driver."""

OBJECTS, DATABASE, TOLLHOUSE = "objects", "database", "tollhouse"
SCHEMES = ("postgresql", "postgres", "mysql", "mariadb", "sqlite", "duckdb")


def is_database(address: str) -> bool:
    """Whether an address is one of a database."""
    scheme, there, _ = address.partition("://")
    return bool(there) and scheme.partition("+")[0] in SCHEMES


def is_bucket(address: str) -> bool:
    """Whether an address is one of a bucket, which may be in memory."""
    return address.startswith(("s3://", "memory://"))
