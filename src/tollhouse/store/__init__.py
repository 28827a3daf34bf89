"""Where things are kept: records (SQLAlchemy), events (DuckDB, PostgreSQL) and objects (obstore).

The only package that imports a database driver.
"""
