"""The order in which panels are read: rows from top to bottom, and in a row from right to left, as manga are, or the other way.

Panels that a straight horizontal line parts are rows; panels of a row that a vertical line parts are columns; and so on
inside each. So a panel that is as high as two others beside it is read before or after both of them.
"""

from collections.abc import Callable, Sequence

from examples.mangamotion.panels import Box


def in_reading_order(panels: Sequence[Box], right_to_left: bool = True) -> list[Box]:
    """The panels as they are read."""
    if len(panels) < 2:
        return list(panels)
    rows = _parted(panels, lambda box: (box.top, box.bottom))
    if len(rows) > 1:
        return [panel for row in rows for panel in in_reading_order(row, right_to_left)]
    columns = _parted(panels, lambda box: (box.left, box.right))
    if len(columns) > 1:
        return [panel for column in (reversed(columns) if right_to_left else columns) for panel in in_reading_order(column, right_to_left)]
    return sorted(panels, key=lambda box: (box.top, -box.right if right_to_left else box.left))


def _parted(panels: Sequence[Box], span: Callable[[Box], tuple[int, int]]) -> list[list[Box]]:
    """The panels in groups whose spans do not touch each other's, in order."""
    groups: list[list[Box]] = []
    reached = 0
    for panel in sorted(panels, key=span):
        start, end = span(panel)
        if not groups or start >= reached:
            groups.append([])
        groups[-1].append(panel)
        reached = max(reached, end)
    return groups
