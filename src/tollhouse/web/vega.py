"""Vega in a process of its own: `python vega.py bundle` and `python vega.py svg`, which reads a specification.

It is a JavaScript engine of 150 MB; in the server's own process it would stay there after the first chart. Run by its path,
so that nothing of Tollhouse is imported.
"""

import subprocess
import sys
from importlib.metadata import version

VERSION = version("vl-convert-python")
_SNIPPET = "window.vegaEmbed = vegaEmbed;"
_LONGEST = 60


def bundle() -> bytes:
    """Vega, Vega-Lite and Vega-Embed as one script, which sets `window.vegaEmbed`."""
    return _run("bundle", b"")


def svg(spec: bytes) -> bytes:
    """A Vega-Lite specification in JSON, drawn."""
    return _run("svg", spec)


def _run(what: str, given: bytes) -> bytes:
    command = [sys.executable, "-I", __file__, what]  # nothing in it comes from outside
    done = subprocess.run(command, input=given, capture_output=True, check=True, timeout=_LONGEST)  # noqa: S603
    return done.stdout


if __name__ == "__main__":
    import vl_convert

    made: str = vl_convert.javascript_bundle(_SNIPPET) if sys.argv[1] == "bundle" else vl_convert.vegalite_to_svg(sys.stdin.read())
    sys.stdout.buffer.write(made.encode())
