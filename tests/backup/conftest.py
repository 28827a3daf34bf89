"""What every backup test may ask for."""

from tests.backup.parts import quick_keys

__all__ = ["quick_keys"]
