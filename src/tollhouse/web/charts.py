"""Charts: one Vega-Lite specification each, interactive in the page and the same as SVG where there is no script.

https://vega.github.io/vega-lite/docs/ has the grammar. A specification names no colours of the page around it: the script,
or `svg`, adds those of the light or the dark theme.
"""

import json
import threading
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from tollhouse.web import vega

Spec = dict[str, Any]
# Told apart by lightness too, for readers who see no difference in hue; checked against both themes' surfaces.
_SERIES = ("#2f6fde", "#e08a1e", "#2a9d77", "#8c5cc4", "#c2466b", "#7a7f87")
_THEMES = {"light": ("#4a5561", "#dfe3e8"), "dark": ("#a9b4c0", "#2c3540")}
_drawing = threading.Lock()


def stacked_days(days: Sequence[tuple[date, dict[str, Decimal]]], names: dict[str, str], unit: str, title: str) -> Spec:
    """A bar a day, stacked by series. `names` gives each series' key its name, and the order; `unit` stands before the number."""
    values = [
        {"day": day.isoformat(), "series": name, "value": float(series.get(key, 0))} for day, series in days for key, name in names.items()
    ]
    scale = {"domain": list(names.values()), "range": list(_SERIES[: len(names)])}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": title,
        "width": "container",
        "height": 240,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": values},
        "mark": {"type": "bar", "cornerRadiusEnd": 2},
        "encoding": {
            "x": {
                "field": "day",
                "type": "ordinal",
                "timeUnit": "utcyearmonthdate",
                "title": None,
                "axis": {"format": "%b %-d", "labelAngle": 0, "labelOverlap": True, "ticks": False},
            },
            "y": {"field": "value", "type": "quantitative", "title": None, "axis": {"format": f"{unit}~g", "tickCount": 5}},
            "color": {"field": "series", "type": "nominal", "scale": scale, "legend": {"title": None, "orient": "top"}},
            "order": {"field": "series"},
            "tooltip": [
                {"field": "day", "type": "temporal", "timeUnit": "utcyearmonthdate", "title": "Day", "format": "%Y-%m-%d"},
                {"field": "series", "title": "What"},
                {"field": "value", "title": "Value", "format": f"{unit},.6~f"},
            ],
        },
    }


def svg(spec: Spec, theme: str, width: int = 900) -> str:
    """The chart as a picture."""
    ink, line = _THEMES[theme]
    themed = spec | {
        "width": width,
        "background": None,
        "config": {
            "view": {"stroke": None},
            "axis": {"labelColor": ink, "gridColor": line, "domainColor": line, "labelFontSize": 12},
            "legend": {"labelColor": ink, "labelFontSize": 12},
        },
    }
    with _drawing:  # one at a time: each is a process of 150 MB while it lasts
        return vega.svg(json.dumps(themed).encode()).decode()
