"""Reports as text for people. Pure. Every name from an archive or a disk passes through `one_line`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from itertools import groupby
from operator import attrgetter
from typing import Final

from bulkdl.errors import NotFound, SelectionError
from bulkdl.model import reports
from bulkdl.model.events import Progress
from bulkdl.model.formatting import command, counted, duration, plural, table
from bulkdl.model.listings import listing_text
from bulkdl.model.quantities import human_bytes
from bulkdl.model.reports import RunOutcome
from bulkdl.model.text import one_line
from bulkdl.model.work_states import state_of_run

_MOST_SHOWN: Final = 10
_UNANSWERED: Final = "the archive did not answer every question"
_ABSENT: Final = frozenset({NotFound.code, SelectionError.code})


def text_of(report: reports.Report, width: int | None = None) -> str:  # noqa: C901, PLR0911, PLR0912 - one for each
    """The report for people. Tables are cut to `width` columns, if it is given."""
    match report:
        case reports.RunReport():
            return _run_text(report)
        case reports.StatusReport():
            return _status_text(report, width)
        case reports.VerifyReport():
            return _verify_text(report)
        case reports.AdoptReport():
            return _adopt_text(report)
        case reports.PlanReport():
            return _plan_text(report, width)
        case reports.LogReport():
            return _log_text(report, width)
        case reports.RelayoutReport():
            return _relayout_text(report)
        case reports.MergeReport():
            return _merge_text(report)
        case reports.ManifestReport():
            return _named_text(report)
        case reports.ManifestWritten():
            kind = "instance" if report.format == "lock" else "row of single instances"
            single = f", {counted(report.instances, kind)}" if report.instances else ""
            return "\n".join(
                [f"{report.series:,} series{single} written as {report.format}", *_unanswered(report.failures)]
            )
        case reports.ManifestDifference():
            return _difference_text(report)
        case reports.MirrorReport():
            return _mirror_report_text(report)
        case reports.LsReport():
            return listing_text(report, width)
        case reports.CiteReport():
            return _cite_text(report)
        case reports.DoctorReport():
            return _doctor_text(report)
        case reports.SyncPlan():
            return "\n".join([f"{_changes(report.changes)}; nothing was changed", *_unanswered(report.failures)])


def complaint_of(report: reports.Report) -> str | None:  # noqa: C901, PLR0911 - one for each
    """The line for standard error if something is wrong; None if nothing is."""
    match report:
        case reports.RunReport():
            return _run_complaint(report)
        case reports.VerifyReport():
            return _verify_complaint(report)
        case reports.AdoptReport():
            return _adopt_complaint(report)
        case reports.RelayoutReport():
            return _relayout_complaint(report)
        case reports.MergeReport():
            return _merge_complaint(report)
        case reports.PlanReport() | reports.ManifestWritten():
            return _absence_complaint(report.failures)
        case reports.LsReport(search=str(text)) if report.is_empty:
            return f"nothing is found with {text!r}"
        case reports.DoctorReport():
            failed = sum(check.state is reports.CheckState.FAILED for check in report.checks)
            return f"{counted(failed, 'check')} failed" if failed else None
        case reports.CiteReport():
            unknown = sum(not each.is_cited_by_archive for each in report.data_sets)
            which = f"{counted(unknown, 'data set')} {'has' if unknown == 1 else 'have'}"
            return f"{which} a name and a DOI at most: the archive does not say how to cite it" if unknown else None
        case reports.SyncPlan():
            return _UNANSWERED if report.failures else None
        case _:  # they only show what is there
            return None


def _run_text(report: reports.RunReport) -> str:
    of = report.instances
    parts = [f"{of.fetched:,} downloaded", f"{of.reused:,} already in the mirror"]
    parts += [f"{of.failed:,} failed"] if of.failed else []
    parts += [f"{of.quarantined:,} quarantined"] if of.quarantined else []
    rate = human_bytes(round(report.bytes_fetched / report.seconds)) if report.seconds else "0 B"
    done = report.outcome.capitalize()
    fetched = f"{human_bytes(report.bytes_fetched)} in {duration(report.seconds)} ({rate}/s)"
    lines = [
        f"{done}: {_series(report.series)}; {counted(of.selected, 'instance')}: {', '.join(parts)}",
        f"{fetched}, {counted(report.requests, 'request')}, {counted(report.retries, 'retry')}",
        f"{one_line(report.mirror)} holds {human_bytes(report.bytes_mirror)} from {one_line(report.archive)}",
        *([f"At the archive: {_changes(report.changes)}"] if report.changes is not None else []),
        *_sources(report.sources),
        *([f"{report.withdrawn:,} series of earlier releases of the archive"] if report.withdrawn else []),
        *_not_decoded(of.not_decoded),
        *_failures(report.failures, report.mirror, left_out=report.failures_left_out),
    ]
    if report.outcome is RunOutcome.COMPLETE:
        lines.append(f"To verify every file: {command('verify', report.mirror)}")
    return "\n".join(lines)


def _sources(sources: Mapping[str, int]) -> list[str]:
    shown = ", ".join(f"{count:,} series from {name.upper()}" for name, count in sorted(sources.items()))
    return [shown] if shown else []


def _log_text(report: reports.LogReport, width: int | None) -> str:
    rows = [
        (
            str(run.run),
            run.verb,
            run.archive,
            run.started[:19].replace("T", " "),
            run.outcome or "not finished",
            f"{run.instances.get('fetched', run.instances.get('adopted', 0)):,}",
            human_bytes(run.bytes.get("fetched", run.bytes.get("adopted", 0))),
            _changes(reports.Changes(**run.changes)) if any(run.changes.values()) else "",
        )
        for run in report.runs
    ]
    return table(
        ("run", "verb", "archive", "started (UTC)", "outcome", "new", "size", "changes"), rows, left=5, width=width
    )


def _named_text(report: reports.ManifestReport) -> str:
    numbers = [
        *([counted(report.collections, "collection")] if report.collections else []),
        *([counted(report.patients, "patient")] if report.patients else []),
        *([counted(report.studies, "study")] if report.studies else []),
        f"{report.series:,} series",
        *([f"{counted(report.instances, 'instance')} named singly"] if report.instances else []),
    ]
    stated = f"stated: {counted(report.stated_instances, 'instance')}, {human_bytes(report.stated_bytes)}"
    return "\n".join(
        [
            f"{one_line(report.manifest)} ({report.format}): {', '.join(numbers)}",
            *([stated] if report.stated_instances or report.stated_bytes else []),
            *(one_line(f"{key}={value}") for key, value in report.settings.items()),
            *map(one_line, report.notes),
        ]
    )


def _difference_text(report: reports.ManifestDifference) -> str:
    if report.is_same:
        return f"{one_line(report.first)} and {one_line(report.second)} name the same"
    marked = (("-", report.removed), ("+", report.added), ("~", report.changed))
    return "\n".join(f"{mark} {one_line(text)}" for mark, texts in marked for text in texts)


def _changes(of: reports.Changes) -> str:
    parts = [f"{of.new_series:,} series new, {of.changed_series:,} changed, {of.withdrawn_series:,} withdrawn"]
    for count, what in (
        (of.replaced_instances, "replaced"),
        (of.withdrawn_instances, "withdrawn"),
        (of.removed_files, "removed"),
    ):
        parts += [f"{counted(count, 'instance')} {what}"] if count else []
    return "; ".join(parts)


def _unanswered(failures: Sequence[reports.Failure]) -> list[str]:
    return [f"  {failure.series or 'a question'}: {one_line(failure.message)}" for failure in failures[:_MOST_SHOWN]]


def _not_decoded(count: int) -> list[str]:
    shown = f"{counted(count, 'instance')} not decoded: no installed decoder supports their pixels"
    return [shown] if count else []


def _run_complaint(report: reports.RunReport) -> str | None:
    resume = _way_on(report.mirror, only_quarantined=report.instances.failed == report.series.failed == 0)
    missing = report.instances.failed + report.instances.quarantined
    match report.outcome:
        case RunOutcome.COMPLETE:
            return None
        case RunOutcome.PARTIAL:
            if missing:
                failed = f"{missing:,} of {report.instances.selected:,} instances"
            elif report.series.failed:
                failed = f"{report.series.failed:,} of {report.series.selected:,} series"
            elif {failure.error for failure in report.failures if not failure.series} <= _ABSENT:
                return "some criteria matched nothing in the archive; everything else was mirrored"
            else:
                return f"{_UNANSWERED}; everything else was mirrored; {_way_on(report.mirror)}"
            status = command("status", report.mirror)
            return f"{failed} failed; all others were saved; to list them: {status}; {resume}"
        case RunOutcome.INTERRUPTED:
            return interrupted(report.mirror)
        case RunOutcome.FAILED:
            return f"the run failed; what was finished is kept; {_way_on(report.mirror)}"


def interrupted(mirror: str) -> str:
    """The message of a run that was interrupted."""
    return f"interrupted; what was finished is kept; {_way_on(mirror)}"


def _way_on(mirror: str, *, only_quarantined: bool = False) -> str:
    """What to do next. Quarantined instances are invalid at the archive itself: to ask it again gives the same."""
    if only_quarantined:
        return f"to keep quarantined instances as they are: {command('resume', '--accept-unsound', mirror)}"
    return f"to continue: {command('resume', mirror)}"


def _doctor_text(report: reports.DoctorReport) -> str:
    parts = []
    for group, found in groupby(report.checks, key=attrgetter("group")):
        checks = list(found)
        width = max(len(check.name) for check in checks)
        parts.append("\n".join([group.capitalize(), *(f"  {_check_text(check, width)}" for check in checks)]))
    return "\n\n".join(parts)


def _check_text(check: reports.Check, width: int) -> str:
    mark = "" if check.state is reports.CheckState.OK else f"{check.state.value}: "
    return f"{one_line(check.name):<{width}}  {mark}{one_line(check.text)}"


def _cite_text(report: reports.CiteReport) -> str:
    if report.format != "text":
        return report.text.rstrip("\n")
    return f"{report.text}\nData availability\n\n{report.paragraph}"


def _mirror_report_text(report: reports.MirrorReport) -> str:
    status, kinds = report.status, Counter(finding.kind for finding in report.findings)
    held = f"{counted(status.held, 'instance')} in {status.series.selected:,} series"
    lines = [f"{held}, {human_bytes(status.bytes_mirror)}; the report is {report.page}"]
    return "\n".join([*lines, *(f"{kind}: {count:,} series" for kind, count in sorted(kinds.items()))])


def _status_text(report: reports.StatusReport, width: int | None) -> str:
    state = f"running: {report.running}" if report.running else f"last run: {report.last_outcome or 'not finished'}"
    lines = [
        f"{one_line(report.mirror)}, mirrored from {one_line(report.archive)}",
        one_line(f"run {report.run}, {state}"),
        (
            f"{_series(report.series)}; {report.held:,} of {report.selected:,} instances held,"
            f" {human_bytes(report.bytes_mirror)}"
        ),
    ]
    lines += [str(state_of_run(Progress(**report.progress)))] if report.progress else []
    states = ("owed", "failed", "quarantined")
    owed = [f"{count:,} {state}" for state in states if (count := getattr(report, state))]
    if report.unlisted_series:
        owed.append(f"{report.unlisted_series:,} series not listed yet")
    if owed:
        lines.append(", ".join(owed))
    lines += _not_decoded(report.not_decoded)
    if report.collections:
        lines += ["", _collections(report.collections, width)]
    if report.failures_by_error:
        rows = sorted(report.failures_by_error.items(), key=lambda entry: (-entry[1], entry[0]))
        lines += ["", table(("error", "count"), ((code, f"{count:,}") for code, count in rows))]
    lines += _failures(report.failures, report.mirror, asked=True)
    lines += [f"failed in the last run: {one_line(message)}" for message in report.unanswered]
    lines += [f"{one_line(each.message)}; to finish it: {one_line(each.command)}" for each in report.unfinished]
    if owed and not report.running:
        rest = report.owed + report.failed + report.series.failed + report.unlisted_series
        way = _way_on(report.mirror, only_quarantined=not rest)
        lines.append(f"{way[0].upper()}{way[1:]}")
    return "\n".join(lines)


def _collections(entries: Iterable[reports.CollectionStatus], width: int | None) -> str:
    return table(
        ("collection", "series", "instances", "held", "owed", "failed", "quarantined", "size"),
        (
            (name, *(f"{count:,}" for count in counts), human_bytes(size_bytes))
            for name, *counts, size_bytes in map(astuple, entries)
        ),
        width=width,
    )


def _verify_text(report: reports.VerifyReport) -> str:
    read = f"{human_bytes(report.bytes_checked)} {'compared by size' if report.is_quick else 'read'}"
    valid = f"{one_line(report.mirror)}: {report.sound:,} of {report.checked:,} files valid"
    lines = [f"{valid}, {read} in {duration(report.seconds)}"]
    if report.owed:
        lines.append(f"{counted(report.owed, 'instance')} owed, so not verified")
    if count := report.instances.quarantined:
        lines.append(f"{counted(count, 'instance')} quarantined as invalid, so not verified")
    lines += [*_not_decoded(report.instances.not_decoded), *map(one_line, report.notes)]
    shown = report.problems[:_MOST_SHOWN]
    if shown:
        rows = ((found.problem.value, ": ".join(filter(None, (found.path, found.message)))) for found in shown)
        lines.append(table(("problem", "file"), rows, left=2))
    if (more := len(report.problems) - len(shown)) > 0:
        lines.append(f"… and {more:,} more: {command('verify', report.mirror, '--json')}")
    if report.series_compared is not None:
        lines.append(f"{report.series_compared:,} series compared with the archive")
    if report.repair is not None:
        lines += ["Repaired:", _run_text(report.repair)]
    return "\n".join(lines)


def _verify_complaint(report: reports.VerifyReport) -> str | None:
    if report.repair is not None and (complaint := _run_complaint(report.repair)) is not None:
        return complaint
    if count := report.remaining:
        found = counted(count, "problem")
        if report.against is not None:
            way = command("mirror", "--manifest", report.against, "--to", "DIR")
            return f"{found} found: this is not what {one_line(report.against)} locks; to rebuild it: {way}"
        if any(problem.instance is not None for problem in report.problems) and report.repair is None:
            return f"{found} found; nothing was changed; to repair: {command('verify', '--repair', report.mirror)}"
        if all(problem.problem is reports.ProblemKind.DIFFERS for problem in report.problems):
            return f"{found} found: the archive has other data; nothing was changed; `mirror` downloads what is new"
        return f"{found} left: files that the journal does not know are never changed; move them yourself"
    return _owed_complaint(report)


def _owed_complaint(report: reports.VerifyReport) -> str | None:
    if report.owed:
        return f"{counted(report.owed, 'instance')} still owed; {_way_on(report.mirror)}"
    if count := report.instances.quarantined:
        status = command("status", report.mirror)
        way = _way_on(report.mirror, only_quarantined=True)
        return f"{counted(count, 'instance')} quarantined as invalid; to list them: {status}; {way}"
    return None


def _adopt_text(report: reports.AdoptReport) -> str:
    adopted = f"{report.outcome.capitalize()}: {report.adopted:,} of {report.found:,} instances adopted"
    size = f"{report.series:,} series, {human_bytes(report.bytes_adopted)}"
    lines = [f"{adopted}, of {size}, in {duration(report.seconds)}"]
    if report.already:
        lines.append(f"{report.already:,} were already in the mirror, or found twice")
    if report.others:
        lines.append(f"{report.others:,} other {plural('file', report.others)} left alone")
    lines += _not_decoded(report.not_decoded)
    if report.problems:
        shown = report.problems[:_MOST_SHOWN]
        lines += ["Rejected, and left in place:"]
        lines += [f"  {one_line(f'{problem.path}: {problem.message}')}" for problem in shown]
        if (more := report.refused - len(shown)) > 0:
            lines.append(f"… and {more:,} more")
    lines.append(f"{one_line(report.mirror)} holds {human_bytes(report.bytes_mirror)}")
    if report.outcome is not RunOutcome.INTERRUPTED:
        lines.append(f"To download what the adopted series lack: {command('resume', report.mirror)}")
    return "\n".join(lines)


def _adopt_complaint(report: reports.AdoptReport) -> str | None:
    if report.outcome is RunOutcome.INTERRUPTED:
        return "interrupted; what was adopted is kept; repeat the command to continue"
    if not report.found:
        return f"no DICOM file was found below {report.source}"
    if not report.refused:
        return None
    return f"{report.refused:,} of {report.found:,} instances were rejected and left in place; all others were adopted"


def _merge_text(report: reports.MergeReport) -> str:
    ways = [f"{count:,} {way}" for way, count in (("linked", report.linked), ("copied", report.copied)) if count]
    moved = ", and left the other mirrors" if report.by == "move" else ""
    joined = f"{counted(report.brought, 'instance')} of {report.series:,} series joined"
    lines = [
        f"{report.outcome.capitalize()}: {joined}, {human_bytes(report.bytes_brought)} in {duration(report.seconds)}",
        f"{', '.join(ways) or 'no file'} from {', '.join(map(one_line, report.sources)) or 'no other mirror'}{moved}",
    ]
    if report.already:
        lines.append(f"{counted(report.already, 'instance')} already there")
    lines += [f"  {one_line(f'{each.path}: {each.message}')}" for each in report.problems[:_MOST_SHOWN]]
    if (more := len(report.problems) - _MOST_SHOWN) > 0:
        lines.append(f"  … and {more:,} more")
    lines.append(f"{one_line(report.mirror)} holds {human_bytes(report.bytes_mirror)}")
    return "\n".join(lines)


def _merge_complaint(report: reports.MergeReport) -> str | None:
    if report.outcome is RunOutcome.INTERRUPTED:
        return "interrupted; what was joined is kept; repeat the command to continue"
    if report.conflicts:
        return f"{counted(report.conflicts, 'conflict')}: the mirrors have different bytes; nothing was overwritten"
    if report.missing:
        return f"{counted(report.missing, 'file')} missing in the other mirrors; {_way_on(report.mirror)}"
    return None


def _relayout_text(report: reports.RelayoutReport) -> str:
    before = f", which was {report.layout_before}" if report.layout_before != report.layout else ""
    lines = [f"{one_line(report.mirror)}, layout {report.layout}{before}"]
    if report.view is not None:
        done = f"{report.files_linked:,} links made, {report.files_removed:,} removed, for {report.series:,} series"
        return "\n".join([lines[0], f"{report.outcome.capitalize()}: {done}, in {one_line(report.view)}"])
    moved = f"{report.series_moved:,} of {report.series:,} series, {counted(report.files_moved, 'file')}"
    if report.is_trial:
        names = [f"  {one_line(f'{each.before} -> {each.after}')}" for each in report.renames[:_MOST_SHOWN]]
        more = [f"  … and {report.series_moved - len(names):,} more"] if report.series_moved > len(names) else []
        return "\n".join([*lines, f"{moved} would be renamed; nothing was changed", *names, *more])
    lines.append(f"{report.outcome.capitalize()}: {moved} renamed in {duration(report.seconds)}")
    if report.files_other:
        lines.append(f"{counted(report.files_other, 'file')} that the mirror does not know moved along")
    if report.files_left:
        where = ", ".join(map(one_line, report.left[:_MOST_SHOWN]))
        lines.append(f"{counted(report.files_left, 'file')} stayed, because the name is taken: {where}")
    return "\n".join(lines)


def _relayout_complaint(report: reports.RelayoutReport) -> str | None:
    if report.outcome is RunOutcome.INTERRUPTED:
        view = ("--layout", report.layout, "--as-view", report.view) if report.view else ()
        way = command("relayout", report.mirror, *view)
        return f"interrupted; nothing is lost; to finish: {way}"
    if report.problems:
        first = report.problems[0]
        more = f" (and {len(report.problems) - 1:,} more)" if len(report.problems) > 1 else ""
        return f"{first.path}: {first.message}{more}"
    return None


def _plan_text(report: reports.PlanReport, width: int | None) -> str:
    owed = report.instances_selected - report.instances_held
    about = "" if report.exact else "about "
    sizes = f"{about}{human_bytes(report.bytes_selected)} selected, {human_bytes(report.bytes_held)} held"
    free = f", {human_bytes(report.bytes_free)} free on disk" if report.bytes_free is not None else ""
    files = f" for {report.files_free:,} files" if report.files_free is not None else ""
    requests = f"about {counted(report.requests, 'request')}"
    when = f", about {duration(report.seconds_expected)}" if report.seconds_expected else ""
    release = f", {one_line(report.release)}" if report.release else ""
    withdrawn = f" ({report.withdrawn:,} withdrawn)" if report.withdrawn else ""
    lines = [
        f"From {one_line(report.archive)}{release}" + (f" into {one_line(report.mirror)}" if report.mirror else ""),
        (
            f"{report.series.selected:,} series{withdrawn}, {report.instances_selected:,} instances:"
            f" {report.instances_held:,} held, {owed:,} to download"
        ),
        sizes + free + files,
        *_shortage(report),
        requests + when,
        *_sources(report.sources),
        *_licenses(report.licenses),
    ]
    if report.collections:
        lines += ["", _planned(report.collections, width)]
    lines += _failures(report.failures, report.mirror or "", asked=True)
    return "\n".join(lines)


def _shortage(report: reports.PlanReport) -> list[str]:
    """What the disk lacks; nothing where the rest fits."""
    owed, owed_bytes = report.instances_selected - report.instances_held, report.bytes_selected - report.bytes_held
    lacks = []
    if report.bytes_free is not None and owed_bytes > report.bytes_free:
        lacks.append(human_bytes(owed_bytes - report.bytes_free))
    if report.files_free is not None and owed > report.files_free:
        lacks.append(f"room for {owed - report.files_free:,} files")
    return [f"It does not fit on the disk: {' and '.join(lacks)} are missing"] if lacks else []


def _licenses(licenses: Sequence[reports.PlannedLicense]) -> list[str]:
    shown = [
        f"{each.series:,} series under {one_line(each.license or 'a licence that the archive does not give')}, "
        f"{human_bytes(each.size_bytes)}"
        for each in licenses[:_MOST_SHOWN]
    ]
    more = len(licenses) - len(shown)
    return [*shown, *([f"… and {more:,} more licences"] if more else [])]


def _planned(entries: Sequence[reports.PlannedCollection], width: int | None) -> str:
    is_routed = any(each.source for each in entries)
    rows = (
        (
            each.collection,
            *([(each.source or "").upper()] if is_routed else []),
            *(f"{count:,}" for count in (each.series, each.instances, each.held, each.owed)),
            f"{'' if each.exact else 'about '}{human_bytes(each.size_bytes)}",
        )
        for each in entries
    )
    heading = ("collection", *(["source"] if is_routed else []), "series", "instances", "held", "owed", "size")
    return table(heading, rows, width=width, left=2 if is_routed else 1)


def _series(counts: reports.SeriesCounts) -> str:
    failed = f", {counts.failed:,} failed" if counts.failed else ""
    return f"{counts.complete:,} of {counts.selected:,} series complete{failed}"


def _absence_complaint(failures: Sequence[reports.Failure]) -> str | None:
    """What was not found; an error of the archive is not the answer that something is absent."""
    if not failures:
        return None
    missing = sum(failure.error in _ABSENT for failure in failures)
    were = f"{counted(missing, 'item')} requested by name {'was' if missing == 1 else 'were'} not found in the archive"
    if missing == len(failures):
        return were
    return f"{_UNANSWERED}; {were}" if missing else _UNANSWERED


def _failures(failures: Sequence[reports.Failure], mirror: str, *, left_out: int = 0, asked: bool = False) -> list[str]:
    """The first failures, one per line. `asked`: the reader asked for them, so `status` is not suggested."""
    if not failures:
        return []
    shown = failures[:_MOST_SHOWN]
    lines = [one_line(f"{_name_of(failed)}{failed.message}") for failed in shown]
    if (more := len(failures) - len(shown) + left_out) > 0:
        lines.append(f"… and {more:,} more" + ("" if asked else f": {command('status', mirror)}"))
    return ["Failed:", *(f"  {line}" for line in lines)]


def _name_of(failed: reports.Failure) -> str:
    """What failed. A criterion that matched nothing has neither instance nor Series."""
    return f"{failed.instance}: " if failed.instance else f"series {failed.series}: " if failed.series else ""
