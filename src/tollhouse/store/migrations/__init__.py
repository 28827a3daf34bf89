"""The history of the records schema, one file a step."""
