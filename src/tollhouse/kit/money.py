"""Exact amounts and quantities.

A quantity has up to 12 decimal places and is smaller than 10^18; both stores keep it as
DECIMAL(38, 12), which leaves room for 10^8 of the largest in one sum. Amounts are computed with 100
significant digits, more than any product of a quantity and a price has; the one place where digits are
given up is `round_half_even`.
"""

import re
from contextlib import AbstractContextManager
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow, localcontext

QUANTITY_PLACES = 12
ESTIMATE_PLACES = 12
LARGEST_QUANTITY = Decimal(10) ** 18

# The grammar of a metered value, the same in Python and in both stores (see store/events/contract.py).
VALUE_PATTERN = r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?"
_VALUE = re.compile(VALUE_PATTERN)

# How many decimals a currency's smallest unit has (ISO 4217); two where it is not named.
_MINOR_PLACES = {"BHD": 3, "CLP": 0, "ISK": 0, "JPY": 0, "KRW": 0, "KWD": 3, "OMR": 3, "PYG": 0, "TND": 3, "VND": 0}

_WIDE = Context(prec=100, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])


def wide() -> AbstractContextManager[Context]:
    """Decimal arithmetic to 100 significant digits: sums and products of quantities and prices lose none of theirs."""
    return localcontext(_WIDE)


def round_half_even(amount: Decimal, places: int) -> Decimal:
    """`amount` to `places` decimals, halves to the even neighbour (IEEE 754 roundTiesToEven)."""
    return amount.quantize(Decimal(1).scaleb(-places), context=_WIDE)


def divide(amount: Decimal, by: Decimal) -> Decimal:
    """`amount / by` to 100 significant digits: exact for every divisor of a power of ten or two in use."""
    return _WIDE.divide(amount, by)


def minor_places(currency: str) -> int:
    """The decimals of the currency's smallest unit: 2 for USD, 0 for JPY, 3 for KWD."""
    return _MINOR_PLACES.get(currency, 2)


def value_text(raw: str) -> str | None:
    """`raw` if it is a number that can be metered, else None: this is the rule, not a conversion."""
    if raw.isdecimal() and raw.isascii() and len(raw) < 18:  # the common one
        return raw
    if _VALUE.fullmatch(raw) is None:
        return None
    if len(raw) < 18 and "e" not in raw and "E" not in raw:
        return raw
    return raw if abs(Decimal(raw)) < LARGEST_QUANTITY else None


def plain(amount: Decimal) -> Decimal:
    """The same amount without trailing zeros and without an exponent, for printing."""
    if amount == amount.to_integral_value():
        return amount.quantize(Decimal(1), context=_WIDE)
    return _WIDE.normalize(amount)
