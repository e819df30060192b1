"""Plots as SVG for a page of HTML. pygal draws them; it comes with the extra `bulkdl[report]`.

Their colours are variables of the page's style sheet, so they follow light, dark and paper. They have no script.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

_MOST_BARS: Final = 15
_BAR_HEIGHT: Final = 26
_LABEL_CHARACTERS: Final = 40


def import_pygal() -> Any:
    """pygal, without the finder of plugins that it adds to this process, of which each failed import would warn."""
    import pygal  # noqa: PLC0415 - slow to import, and an extra

    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != pygal.__name__]
    return pygal


def bars(values: Mapping[str, float], text: Callable[[float], str], *, title: str) -> str:
    """Horizontal bars, the largest first; those beyond the first fifteen are one bar together."""
    ordered = sorted(values.items(), key=lambda item: -item[1])
    shown, rest = ordered[:_MOST_BARS], ordered[_MOST_BARS:]
    if rest:
        shown.append((f"{len(rest)} others", sum(value for _, value in rest)))
    chart = import_pygal().HorizontalBar(**_options(text, title), height=80 + _BAR_HEIGHT * len(shown))
    chart.x_labels = [_label(name) for name, _ in reversed(shown)]
    chart.add(title, [value for _, value in reversed(shown)])
    return _svg(chart)


def steps(values: Mapping[str, float], text: Callable[[float], str], *, title: str) -> str:
    """Vertical bars in the order of `values`: what grows from run to run, for example."""
    chart = import_pygal().Bar(**_options(text, title), height=320, x_label_rotation=30)
    chart.x_labels = [_label(name) for name in values]
    chart.add(title, list(values.values()))
    return _svg(chart)


def _label(name: str) -> str:
    return name if len(name) <= _LABEL_CHARACTERS else f"{name[: _LABEL_CHARACTERS - 1]}…"


def _options(text: Callable[[float], str], title: str) -> dict[str, Any]:
    from pygal.style import Style  # noqa: PLC0415 - slow to import, and an extra

    ink, line = "currentColor", "var(--line)"
    style = Style(
        background="transparent",
        plot_background="transparent",
        foreground=ink,
        foreground_strong=ink,
        foreground_subtle=ink,
        colors=("var(--accent)",),
        value_colors=(ink,),
        opacity="1",
        font_family="inherit",
        guide_stroke_color=line,
        major_guide_stroke_color=line,
    )
    return {
        "style": style,
        "title": title,
        "js": [],
        "show_legend": False,
        "disable_xml_declaration": True,
        "value_formatter": lambda value: text(value or 0),
        "truncate_label": -1,
    }


def _svg(chart: Any) -> str:
    """The chart without its script, which would only draw boxes beside the pointer."""
    from pygal.etree import etree  # noqa: PLC0415 - slow to import, and an extra

    root = chart.render_tree()
    for parent in list(root.iter()):
        for child in list(parent):
            if str(child.tag).endswith("script"):
                parent.remove(child)
    return str(etree.tostring(root, encoding="unicode"))
