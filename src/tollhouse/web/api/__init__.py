"""The routes, one file a domain. A route reads its input, opens one transaction, calls a verb and shows the result."""
