"""The log of whatever opens the stores: on standard error, so that what a command prints stays clean."""

import sys

import structlog


def log_to_stderr() -> None:
    """Write the log to standard error: JSON for machines, or text for a terminal."""
    json_lines = not sys.stderr.isatty()
    plain = structlog.dev.plain_traceback  # the rich one would print local variables, and keys among them
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
    renderer = structlog.processors.JSONRenderer() if json_lines else console
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.format_exc_info] if json_lines else []),
            renderer,
        ],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # what is standard error when something is logged
    )
