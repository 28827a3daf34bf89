"""What Apprise weighs is carried only by a server that sends."""

import subprocess
import sys


def test_a_server_that_sends_nothing_does_not_load_apprise() -> None:
    look = "import sys, tollhouse.cli.main, tollhouse.alerts; print('apprise' in sys.modules, 'requests' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.split() == ["False", "False"]
