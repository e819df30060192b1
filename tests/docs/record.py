"""Make the pictures of the README and of the documentation again: `python -m tests.docs.record`.

`.github/run.svg` is a recording of real commands in a pseudo-terminal, drawn as an SVG without scripts; a program that
does not animate it shows its last picture. `bulkdl/docs/progress.svg` and `progress-narrow.svg` record a run of 52 tiny
and 10 large instances at 80 and at 40 columns. `.github/serve.png` and the pictures of `bulkdl help portal`
are pages of `bulkdl serve --demo`, if Chromium is installed. With names of files only these are made; serve.png stands
for all pages.
"""

from __future__ import annotations

import asyncio
import io
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path
from typing import Final

import pyte
from PIL import Image

from bulkdl.server.demo.catalogue import PHANTOM_COLLECTION
from tests.support.browser import CHROMIUM, Tab, browser_tab
from tests.support.commands import environment, serve
from tests.support.dicom_files import instances, noisy, write_folder

PICTURES: Final = Path(__file__).parents[2] / ".github"
DOCS: Final = Path(__file__).parents[2] / "bulkdl/docs"
FOLDER: Final = Path(tempfile.gettempdir()) / "bulkdl"

_CHARACTER: Final = 8.4
_LINE: Final = 19.0
_MARGIN: Final = 18.0
_TITLE: Final = 34.0
_HOLD_SECONDS: Final = 8.0
_KEY_SECONDS: Final = 0.035
_FRAME_SECONDS: Final = 0.1
_CHOOSE_STRUCTURES: Final = """(() => { const over = document.getElementById("over");
    over.value = [...over.options].find((one) => one.dataset.modality === "RTSTRUCT").value;
    over.dispatchEvent(new Event("change"));
    const slider = document.getElementById("slider");
    slider.value = "11";
    slider.dispatchEvent(new Event("input")); })()"""


@dataclass(frozen=True)
class Step:
    """A command that is typed. `stop_after_seconds`: then Ctrl-C is pressed."""

    command: str
    stop_after_seconds: float | None = None


RUN: Final = (
    Step("bulkdl plan --archive demo --collection BULKDL-PHANTOM"),
    Step("bulkdl mirror --archive demo --collection BULKDL-PHANTOM --to phantom --rate-limit 6MB/s", 4.5),
    Step("bulkdl resume phantom"),
    Step("bulkdl verify phantom"),
)


@dataclass
class Recording:
    """What each row of the screen showed, from when to when (seconds)."""

    columns: int
    rows: int
    title: str
    seconds: float = 0.0
    shown: dict[int, tuple[str, float]] = field(default_factory=dict)
    spans: list[tuple[int, str, float, float | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.screen = pyte.Screen(self.columns, self.rows)
        self._stream = pyte.Stream(self.screen)

    def feed(self, text: str) -> None:
        """Show `text` at the present moment."""
        self._stream.feed(text)

    def snap(self) -> None:
        """Note the rows that changed since the last call."""
        for row, line in enumerate(self.screen.display):
            text, since = self.shown.get(row, ("", self.seconds))
            if line.rstrip() != text:
                if text:
                    self.spans.append((row, text, since, self.seconds))
                self.shown[row] = (line.rstrip(), self.seconds)

    def end(self) -> None:
        """What is shown now stays."""
        self.spans += [(row, text, since, None) for row, (text, since) in self.shown.items() if text]


def record(recording: Recording, steps: Sequence[Step], variables: Mapping[str, str]) -> Recording:
    """Type and run the steps; pauses without output are kept short."""
    size = {"COLUMNS": str(recording.columns), "LINES": str(recording.rows), "TERM": "xterm"}
    for step in steps:
        _type(recording, step.command)
        for text, waited in _run(step, {**variables, **size}):
            recording.seconds += min(waited, 0.6)
            recording.feed(text)
            recording.snap()
        recording.seconds += 1.2
    recording.feed("$ ")
    recording.snap()
    recording.end()
    return recording


def _type(recording: Recording, command: str) -> None:
    recording.feed("$ ")
    for character in command:
        recording.feed(character)
        recording.seconds += _KEY_SECONDS
        recording.snap()
    recording.feed("\r\n")
    recording.snap()


def _run(step: Step, variables: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    """The output of the step, a picture at a time, each with the seconds since the one before."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(FOLDER)
        words = [sys.executable, "-m", *step.command.split()]
        termios.tcsetwinsize(0, (int(variables["LINES"]), int(variables["COLUMNS"])))
        os.execve(words[0], words, dict(variables))  # noqa: S606 - the command itself
    started = last = time.monotonic()
    is_stopped = step.stop_after_seconds is None
    while True:
        ready, _, _ = select.select([terminal], [], [], _FRAME_SECONDS)
        now = time.monotonic()
        if not is_stopped and now - started > (step.stop_after_seconds or 0):
            os.kill(process, signal.SIGINT)
            is_stopped = True
        if not ready:
            continue
        time.sleep(_FRAME_SECONDS / 2)  # let one picture be complete
        try:
            text = os.read(terminal, 1 << 16).decode(errors="replace")
        except OSError:
            break
        if not text:
            break
        yield text, now - last
        last = now
    os.waitpid(process, 0)
    os.close(terminal)


def draw(recording: Recording) -> str:
    """The recording as an animated SVG."""
    width = recording.columns * _CHARACTER + 2 * _MARGIN
    height = recording.rows * _LINE + 2 * _MARGIN + _TITLE
    length = recording.seconds + _HOLD_SECONDS
    buttons = "".join(
        f'<circle cx="{_MARGIN + 6 + 20 * number}" cy="20" r="6" fill="{colour}"/>'
        for number, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    rows = "\n".join(_row(*span) for span in recording.spans)
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">
<title>{escape(recording.title)}</title>
<rect width="100%" height="100%" rx="10" fill="#16181d"/>
{buttons}
<rect width="0" height="0">
<animate id="loop" attributeName="x" from="0" to="0" begin="0s;loop.end" dur="{length:.2f}s"/>
</rect>
<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="14" fill="#d7dae0">
{rows}
</g>
</svg>
"""


def _row(row: int, text: str, since: float, until: float | None) -> str:
    """One state of one row. What is shown at the end is visible without animation, too."""
    if until is None:
        hidden, change = "", f'to="hidden" begin="loop.begin" dur="{max(since, 0.01):.2f}s"'
    else:
        hidden = ' visibility="hidden"'
        change = f'to="visible" begin="loop.begin+{since:.2f}s" dur="{max(until - since, 0.01):.2f}s"'
    colour = ' fill="#8fd0ff"' if text.startswith("$ ") else ""
    y = _TITLE + _MARGIN + (row + 0.75) * _LINE
    place = f'x="{_MARGIN}" y="{y:.1f}" textLength="{len(text) * _CHARACTER:.1f}"'
    words = f'{escape(text)}<set attributeName="visibility" {change}/>'
    return f'<text {place} xml:space="preserve"{colour}{hidden}>{words}</text>'


def photograph(cache: Path) -> None:
    """Pages of the demonstration archive, by Chromium."""
    if CHROMIUM is None:
        sys.stderr.write("Chromium is not installed: the pictures of pages stay as they are\n")
        return
    with serve("--demo", cache=cache, log=FOLDER / "access.jsonl") as archive:
        asyncio.run(_photograph_pages(archive.url.partition("/nbia-api")[0]))


async def _photograph_pages(origin: str) -> None:
    """A search, a CT with its structure set, and the first page."""
    async with browser_tab() as tab:
        await tab.resize(1100, 760)
        await tab.open(f"{origin}/search?modality=CT&collection={PHANTOM_COLLECTION}")
        await _photograph(tab, DOCS / "portal-search.png")
        await tab.open(await tab.run("document.querySelector('table.series a').href"))
        await tab.click("a.button[href^='/instance']")
        await tab.until("document.getElementById('viewer').dataset.ready === '1'")
        await tab.run(_CHOOSE_STRUCTURES)
        await tab.until("document.querySelectorAll('#contours polygon').length > 0")
        await _photograph(tab, DOCS / "portal.png")
        await tab.resize(1100, 440)
        await tab.open(f"{origin}/")
        await _photograph(tab, PICTURES / "serve.png")


async def _photograph(tab: Tab, path: Path) -> None:
    await tab.until("[...document.images].every((image) => image.complete || !image.getClientRects().length)")
    with Image.open(io.BytesIO(await tab.screenshot())) as shown:
        shown.convert("P", palette=Image.Palette.ADAPTIVE).save(path, optimize=True)


def record_run(cache: Path) -> None:
    """The recording of the README."""
    subprocess.run(  # the demonstration archive is made once, before anything is recorded
        [sys.executable, "-m", "bulkdl", "plan", "--archive", "demo", "--everything"],
        env=environment(cache),
        check=True,
        capture_output=True,
    )
    title = "A terminal: bulkdl plan, an interrupted bulkdl mirror, bulkdl resume and bulkdl verify"
    recording = record(Recording(100, 27, title), RUN, environment(cache))
    (PICTURES / "run.svg").write_text(draw(recording), encoding="utf-8")


def record_progress(cache: Path, columns: int, name: str) -> None:
    """The recording of a run of 52 tiny and 10 large instances, whose bytes no zip can shrink."""
    source = FOLDER / "source"
    for series, per_series, rows in ((4, 13, 48), (2, 5, 1050)):
        made_up = instances(series=series, per_series=per_series, rows=rows, collection="MIXED", seed=str(rows))
        write_folder(source, map(noisy, made_up))
    title = f"A terminal of {columns} columns: bulkdl mirror with 52 tiny and 10 large instances"
    steps = (Step(f"bulkdl mirror MIXED --to mixed-{columns} --rate-limit 1MB/s"),)
    with serve(source, cache=cache, log=FOLDER / "access.jsonl") as archive:
        variables = {**environment(cache), "BULKDL_ARCHIVE": archive.url}
        recording = record(Recording(columns, 800 // columns, title), steps, variables)
    (DOCS / name).write_text(draw(recording), encoding="utf-8")


MAKERS: Final[Mapping[str, Callable[[Path], None]]] = {
    "run.svg": record_run,
    "progress.svg": partial(record_progress, columns=80, name="progress.svg"),
    "progress-narrow.svg": partial(record_progress, columns=40, name="progress-narrow.svg"),
    "serve.png": photograph,
}


def main(names: Sequence[str]) -> None:
    """Make the pictures of these names, or all of them."""
    with tempfile.TemporaryDirectory() as temporary:
        cache = Path(temporary)
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir()
        try:
            for name in names or MAKERS:
                MAKERS[name](cache)
        finally:
            shutil.rmtree(FOLDER, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
