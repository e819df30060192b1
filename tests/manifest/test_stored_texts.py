"""Texts are found by their numbers, in memory and on the disk."""

from __future__ import annotations

from contextlib import closing

import pytest

from bulkdl.manifest.stored_texts import StoredTexts


@pytest.mark.parametrize("in_memory", [0, 2, 4, 9])
def test_each_text_is_found_by_its_number(in_memory: int) -> None:
    count = 6
    with closing(StoredTexts(most_in_memory=in_memory)) as texts:
        for number in range(count):
            texts.add(f"ü{number}")
        assert [texts[number] for number in (0, count - 1, 1, count - 3)] == [
            "ü0",
            f"ü{count - 1}",
            "ü1",
            f"ü{count - 3}",
        ]
        with pytest.raises(IndexError):
            texts[count]
