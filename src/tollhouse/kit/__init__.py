"""Pure building blocks without I/O: money, times, ids, errors, paging, tokens, JSON paths."""
