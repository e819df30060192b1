"""What the scenarios are to show, and what they have shown."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Final

from tests.benchmarks.goals import Goal
from tests.benchmarks.scenarios import OURS, Result

_LINK_MB: Final = 125.0  # a second, of 1 Gbit/s
_RAW_RATIOS: Final = {"S2": 1.5, "S3": 2.0, "S7": 1.5}  # of the seconds of the best peer that checks nothing
_USER_MS: Final = {"S1m": ("small instance", 0.40), "S2m": ("CT slice", 1.3)}
_FIRST_SECONDS: Final = 0.3
_TLS_RATIO: Final = 1.3
_LINK_SHARE: Final = 0.95
_ZIPS: Final = "tcia_utils"
_MOST_MB: Final = 200


def goals(results: Sequence[Result]) -> list[Goal]:
    """The goals that these scenarios tell of."""
    by_name = {result.scenario.name: result for result in results}
    found = [goal for result in results for goal in (*_beside_peers(result), *_alone(result, by_name))]
    if runs := [one for result in results for one in result.runs[OURS]]:
        peak = max(one.peak_bytes for one in runs) / 1e6
        wanted = f"all processes below {_MOST_MB} MB in every scenario"
        found.append(Goal("Memory", wanted, f"{peak:.0f} MB", peak < _MOST_MB))
    return found


def _beside_peers(result: Result) -> Iterator[Goal]:
    name, ours, peers = result.scenario.name, result.seconds(OURS), result.peers()
    if not peers:
        return
    best = peers[0]
    if not result.scenario.slow:
        guaranteed = min(result.guaranteed_seconds(peer) for peer in peers)
        text = f"{ours:.2f} s, against {guaranteed:.2f} s"
        yield Goal(f"{name} guaranteed", "faster than every peer at equal guarantee", text, ours < guaranteed)
    if name in _RAW_RATIOS:
        ratio, most = ours / result.seconds(best), _RAW_RATIOS[name]
        yield Goal(f"{name} raw", f"within {most} times the best raw peer", f"{ratio:.2f} times {best}", ratio <= most)
    if name == "S4":
        text = f"{ours:.2f} s; {best}: {result.seconds(best):.2f} s"
        yield Goal("S4 raw", "faster than every raw peer", text, ours <= result.seconds(best))
    if name == "S5":
        by_instance = [peer for peer in peers if peer != _ZIPS]
        yield _twice(
            "S5", "twice the best peer by instance", result, {peer: result.seconds(peer) for peer in by_instance}
        )
        zips = {f"{_ZIPS}, checked": result.guaranteed_seconds(_ZIPS)} if _ZIPS in peers else {}
        yield _twice("S5 zips", "twice the zips of tcia_utils followed by the checks", result, zips)


def _twice(name: str, wanted: str, result: Result, seconds: dict[str, float]) -> Goal:
    if not seconds:
        return Goal(name, wanted, "not compared", met=False)
    best = min(seconds, key=lambda peer: seconds[peer])
    ratio = seconds[best] / result.seconds(OURS)
    return Goal(name, wanted, f"{ratio:.2f} times {best}", ratio >= 2)


def _alone(result: Result, by_name: dict[str, Result]) -> Iterator[Goal]:
    name = result.scenario.name
    if name in _USER_MS:
        what, most = _USER_MS[name]
        user = _user_seconds(result) / result.instances * 1e3
        yield Goal(f"CPU, {what}", f"{most:.2f} ms of user time each, all processes", f"{user:.2f} ms", user <= most)
    if name == "S1m":
        first = _median(one.first_request_seconds or 0.0 for one in result.runs[OURS])
        wanted = f"on the wire within {_FIRST_SECONDS * 1e3:.0f} ms of the start"
        yield Goal("First request", wanted, f"{first * 1e3:.0f} ms", first <= _FIRST_SECONDS)
    if name == "S4":
        seconds = _median(one.seconds - (one.first_seconds or 0.0) for one in result.runs[OURS])
        rate = result.size_bytes / 1e6 / seconds
        text = f"{rate:.0f} MB/s of {_LINK_MB:.0f}"
        wanted = f"{_LINK_SHARE:.0%} of the link from the first object to the end"
        yield Goal("S4", wanted, text, rate >= _LINK_SHARE * _LINK_MB)
    if (plain := by_name.get(result.scenario.plain or "")) is not None:
        with_tls, without = _user_seconds(result), _user_seconds(plain)
        text = f"{with_tls:.2f} s, {with_tls / without:.2f} times"
        wanted = f"user time at most {_TLS_RATIO} times that of {plain.scenario.name}"
        yield Goal(f"{name} TLS", wanted, text, with_tls <= _TLS_RATIO * without)


def _user_seconds(result: Result) -> float:
    return _median(one.user_seconds for one in result.runs[OURS])


def _median(values: Iterator[float]) -> float:
    return statistics.median(values)
