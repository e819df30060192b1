"""What the scenarios are to show, and what they have shown."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Final

from tests.benchmarks.goals import Goal
from tests.benchmarks.link import FAR, Line
from tests.benchmarks.scenarios import OURS, Result

_RAW_RATIOS: Final = {"S2": 1.5, "S3": 2.0, "S7": 1.5}  # of the seconds of the best peer that checks nothing
_USER_MS: Final = {"S1m": ("small instance", 0.40), "S2m": ("CT slice", 1.3)}
_FIRST_SECONDS: Final = 0.3
_TLS_RATIO: Final = 1.3
_LINK_SHARE: Final = 0.95
_ZIPS: Final = "tcia_utils"
_BY_INSTANCE: Final = "S5"
_MOST_MB: Final = 200
_MOST_TWICE: Final = 0.02
_WHOLE_LINE: Final = frozenset({"S4", "S4t", "S4j"})
_POOR_LINES: Final = frozenset({"S4L", "S8"})


def goals(results: Sequence[Result]) -> list[Goal]:
    """The goals that these scenarios tell of."""
    by_name = {result.scenario.name: result for result in results}
    found = [goal for result in results for goal in (*_beside_peers(result), *_alone(result), *_tls(result, by_name))]
    if runs := [one for result in results for one in result.runs[OURS]]:
        peak = max(one.peak_bytes for one in runs) / 1e6
        wanted = f"all processes at most {_MOST_MB} MB in every scenario"
        found.append(Goal("Memory", wanted, f"{peak:.0f} MB", peak <= _MOST_MB))
    return found


def _beside_peers(result: Result) -> Iterator[Goal]:
    name, ours, peers = result.scenario.name, result.seconds(OURS), result.peers()
    if not peers:
        return
    best = peers[0]
    if result.scenario.line is None:
        peer = min(peers, key=result.guaranteed_seconds)
        guaranteed = result.guaranteed_seconds(peer)
        text = f"{ours:.2f} s; {peer}, checked: {guaranteed:.2f} s"
        yield Goal(f"{name} checked", "faster than every peer followed by the same checks", text, ours < guaranteed)
    if name in _RAW_RATIOS:
        ratio, most = ours / result.seconds(best), _RAW_RATIOS[name]
        wanted = f"at most {most} times the best peer, which checks nothing"
        yield Goal(f"{name} raw", wanted, f"{ratio:.2f} times {best}", ratio <= most)
    if name in _WHOLE_LINE | _POOR_LINES:
        text = f"{ours:.2f} s; {best}: {result.seconds(best):.2f} s"
        wanted = "first of all, also of peers that check nothing"
        yield Goal(f"{name} first", wanted, text, ours <= result.seconds(best))
    if name == _BY_INSTANCE:
        by_instance = {peer: result.seconds(peer) for peer in peers if peer != _ZIPS}
        yield _twice(name, "twice the best peer by instance", result, by_instance)
        zips = {f"{_ZIPS}, checked": result.guaranteed_seconds(_ZIPS)} if _ZIPS in peers else {}
        yield _twice(f"{name} zips", "twice the zips of tcia_utils followed by the checks", result, zips)


def _twice(name: str, wanted: str, result: Result, seconds: dict[str, float]) -> Goal:
    if not seconds:
        return Goal(name, wanted, "not compared", met=False)
    best = min(seconds, key=lambda peer: seconds[peer])
    ratio = seconds[best] / result.seconds(OURS)
    return Goal(name, wanted, f"{ratio:.2f} times {best}", ratio >= 2)


def _alone(result: Result) -> Iterator[Goal]:
    name, runs = result.scenario.name, result.runs[OURS]
    failed = [one.status for one in runs if one.status]
    if failed or result.wrong[OURS]:
        text = f"{result.wrong[OURS]} wrong or missing; exit codes {failed}"
        yield Goal(f"{name} complete", "every object, with the right bytes", text, met=False)
    if name in _USER_MS:
        what, most = _USER_MS[name]
        user = _user_seconds(result) / result.instances * 1e3
        wanted = f"at most {most:.2f} ms of user time each, all processes"
        yield Goal(f"CPU, {what}", wanted, f"{user:.2f} ms", user <= most)
    if name == "S1m":
        first = _median(one.first_request_seconds or 0.0 for one in runs)
        wanted = f"on the wire at most {_FIRST_SECONDS * 1e3:.0f} ms after the start"
        yield Goal("First request", wanted, f"{first * 1e3:.0f} ms", first <= _FIRST_SECONDS)
    if name in _WHOLE_LINE:
        yield _share_of_line(result, result.scenario.line or FAR)
    if name in _POOR_LINES:
        refused = sum(one.refused for one in runs)
        twice = max(max(one.sent_bytes / result.size_bytes - 1, 0) for one in runs)
        wanted = f"never refused, never more than {_MOST_TWICE:.0%} fetched twice"
        is_met = refused == 0 and twice <= _MOST_TWICE
        yield Goal(f"{name} requests", wanted, f"{refused} refused, {twice:.1%} twice", is_met)


def _share_of_line(result: Result, line: Line) -> Goal:
    """From the first request of an object until the last is in its place; the line is what TCP can carry over it."""
    seconds = _median((one.last_seconds or one.seconds) - (one.first_seconds or 0.0) for one in result.runs[OURS])
    rate = result.size_bytes / 1e6 / seconds
    text = f"{rate:.1f} of {line.payload_mb:.1f} MB/s, {rate / line.payload_mb:.0%}"
    wanted = f"{_LINK_SHARE:.0%} of the link from the first object to the last"
    return Goal(f"{result.scenario.name} link", wanted, text, rate >= _LINK_SHARE * line.payload_mb)


def _tls(result: Result, by_name: dict[str, Result]) -> Iterator[Goal]:
    plain = by_name.get(result.scenario.plain or "")
    if plain is None or result.scenario.line is not None:
        return
    with_tls, without = _user_seconds(result), _user_seconds(plain)
    text = f"{with_tls:.2f} s, {with_tls / without:.2f} times"
    wanted = f"user time at most {_TLS_RATIO} times that of {plain.scenario.name}"
    yield Goal(f"{result.scenario.name} TLS", wanted, text, with_tls <= _TLS_RATIO * without)


def _user_seconds(result: Result) -> float:
    return _median(one.user_seconds for one in result.runs[OURS])


def _median(values: Iterator[float]) -> float:
    return statistics.median(values)
