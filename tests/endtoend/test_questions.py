"""Questions by chance to a cache of IDC are answered: the short form, over an index of few Series."""

from __future__ import annotations

from pathlib import Path

from tests.stress.questions import NO_ARCHIVE, Questions, ask_all, report, values_of
from tests.support.idc_index import series_row, write_index


def test_questions_by_chance_are_answered_from_the_index_alone(tmp_path: Path) -> None:
    rows = [series_row(number, Modality="CT" if number % 2 else "MR", StudyDate="2020-01-02") for number in range(40)]
    index = write_index(tmp_path / "index", rows, names={"lung_one": "Lung-One"})
    questions = list(Questions(values_of(index / "idc_index.parquet"), seed=3).some(60))
    answers, peak = ask_all(tmp_path, questions, "--archive", NO_ARCHIVE, "--idc-index", index)
    said: list[str] = []
    assert report(answers, peak, said.append), said
    assert sum(answer.status == 200 for answer in answers) > len(questions) // 2
