"""Where the log goes."""

import contextlib
import io

import structlog

from tollhouse.cli.log import log_to_stderr


def test_the_log_goes_to_what_is_standard_error_when_something_is_logged() -> None:
    before = structlog.get_config()
    try:
        with io.StringIO() as closed, contextlib.redirect_stderr(closed):
            log_to_stderr()
        with contextlib.redirect_stderr(io.StringIO()) as present:
            structlog.get_logger().warning("a disk is full", free=0)
    finally:
        structlog.configure(**before)
    assert '"event": "a disk is full"' in present.getvalue()
