"""Render the report of a mirror as one page of HTML that needs nothing from outside. jinja2 fills the template.

Its plots need pygal, which comes with the extra `bulkdl[report]`. Every text of the page is escaped; its one script,
which sorts tables, is named in its Content Security Policy by its SHA-256, so no other script runs, whatever a name
contains.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from bulkdl.model.formatting import duration
from bulkdl.model.quantities import human_bytes, rate_text
from bulkdl.pages.plots import bars, import_pygal, steps

if TYPE_CHECKING:
    from bulkdl.model.reports.log import RunSummary
    from bulkdl.model.reports.mirror_report import Group, MirrorReport

_TITLES: Final = {
    "collection": "Collections",
    "source": "Sources",
    "modality": "Modalities",
    "manufacturer": "Manufacturers",
    "transfer_syntax": "Transfer syntaxes",
    "license": "Licences",
    "year": "Years of the studies",
}
_TABLE: Final = """{% macro table(section) %}<div class="scroll"><table><thead><tr>
{% for name, numeric in section.heads %}<th scope="col"{% if numeric %} class="number"{% endif %}>\
<button type="button">{{ name }}</button></th>{% endfor %}</tr></thead><tbody>
{% for row in section.rows %}<tr>{% for text, value in row %}<td{% if value is not none %} class="number" \
data-value="{{ value }}"{% endif %}>{{ text }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>{% endmacro %}"""


@dataclass(frozen=True, slots=True)
class TableSection:
    """A table of the page. A head is a name and whether its column has numbers; a cell a text, and a number or None."""

    title: str
    heads: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[tuple[str, float | None], ...], ...]


def can_plot() -> bool:
    """Whether pygal is installed. Without it the page has no plots; its tables have the same numbers."""
    try:
        import_pygal()
    except ImportError:
        return False
    return True


def render_mirror_report(report: MirrorReport) -> str:
    """The page."""
    import jinja2  # noqa: PLC0415 - slow to import, and rarely needed

    folder = files(__package__)
    script = folder.joinpath("sort_tables.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(_TABLE + folder.joinpath("mirror_report.html").read_text(encoding="utf-8"))
    tables = _tables(report)
    return template.render(
        report=report,
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        sections=[("held", "Held"), ("findings", "Completeness"), *((id_, one.title) for id_, one in tables)],
        facts=_facts(report),
        plots=_plots(report) if can_plot() else [],
        findings=_findings(report),
        series_with_findings=len({finding.series for finding in report.findings}),
        tables=tables,
    )


def _facts(report: MirrorReport) -> list[tuple[str, str]]:
    status = report.status
    return [
        ("series", f"{status.series.selected:,}"),
        ("instances held", f"{status.held:,}"),
        ("bytes", human_bytes(status.bytes_mirror)),
        ("owed", f"{status.owed:,}"),
        ("failed", f"{status.failed:,}"),
        ("quarantined", f"{status.quarantined:,}"),
        ("runs", f"{len(report.runs):,}"),
    ]


def _plots(report: MirrorReport) -> list[str]:
    drawn = [
        bars({group.name: float(group.bytes) for group in groups}, _size, title=f"Bytes by {name}")
        for name in ("collection", "modality")
        if (groups := report.groups.get(name, ()))
    ]
    fetched = {f"{run.run}: {run.started[:10]}": (run.bytes.get("fetched", 0), run.seconds) for run in report.runs}
    if any(count for count, _ in fetched.values()):
        growth = dict(zip(fetched, accumulate(float(count) for count, _ in fetched.values()), strict=True))
        rates = {name: count / seconds for name, (count, seconds) in fetched.items() if count and seconds}
        drawn.append(steps(growth, _size, title="Bytes downloaded, run by run"))
        drawn.append(steps(rates, rate_text, title="Bytes a second of each run"))
    return drawn


def _size(value: float) -> str:
    return human_bytes(int(value))


def _tables(report: MirrorReport) -> list[tuple[str, TableSection]]:
    tables = [
        (name.replace("_", "-"), _groups(_TITLES[name], groups)) for name, groups in report.groups.items() if groups
    ]
    if report.status.failures_by_error:
        rows = tuple((_text(error), _number(count)) for error, count in report.status.failures_by_error.items())
        tables.append(("failures", TableSection("Failures by reason", (("error", False), ("count", True)), rows)))
    if report.runs:
        tables.append(("runs", _runs(report.runs)))
    return tables


def _groups(title: str, groups: Sequence[Group]) -> TableSection:
    heads = (("value", False), ("series", True), ("instances", True), ("bytes", True))
    rows = ((_text(one.name), _number(one.series), _number(one.instances), _bytes(one.bytes)) for one in groups)
    return TableSection(title, heads, tuple(rows))


def _findings(report: MirrorReport) -> TableSection:
    heads = tuple((name, False) for name in ("collection", "patient", "series", "modality", "finding", "what"))
    rows = (
        tuple(map(_text, (one.collection, one.patient, one.series, one.modality, one.kind, one.text)))
        for one in report.findings
    )
    return TableSection("Completeness", heads, tuple(rows))


def _runs(runs: Sequence[RunSummary]) -> TableSection:
    heads = (("run", True), ("verb", False), ("started", False), ("duration", True), ("outcome", False))
    rows = (
        (
            *(_number(run.run), _text(run.verb), _text(run.started), _cell(run.seconds, duration)),
            *(_text(run.outcome or "not ended"), _number(run.instances.get("fetched", 0))),
            *(_number(run.instances.get("failed", 0)), _bytes(run.bytes.get("fetched", 0))),
        )
        for run in runs
    )
    more = (("downloaded", True), ("failed", True), ("bytes", True))
    return TableSection("Runs", (*heads, *more), tuple(rows))


def _text(text: str) -> tuple[str, None]:
    return text, None


def _number(value: float) -> tuple[str, float]:
    return f"{value:,}", value


def _bytes(value: int) -> tuple[str, float]:
    return human_bytes(value), value


def _cell(value: float | None, text: Callable[[float], str]) -> tuple[str, Any]:
    return ("", -1) if value is None else (text(value), value)
