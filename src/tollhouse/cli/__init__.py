"""The command line. It is a client: it talks to the running server, or to one that it starts for the moment."""
