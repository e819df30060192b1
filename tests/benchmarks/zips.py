"""tcia_utils, as its users call it: the zip of each Series, ten at a time. `zips.py ORIGIN SERIES OUT`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from tcia_utils import nbia


def main(origin: str, series: Path, out: Path) -> None:
    nbia.setApiUrl = lambda *_, **__: f"{origin}/nbia-api/services/v4/"
    logging.disable(logging.WARNING)
    nbia.downloadSeries(series.read_text().split(), input_type="list", path=str(out))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
