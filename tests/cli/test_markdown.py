"""Markdown in a terminal."""

from __future__ import annotations

import pytest

from bulkdl.cli.markdown import to_text

TABLE = "| code | meaning |\n| --- | --- |\n| 0 | all is there |\n| 130 | it was interrupted and can be continued |\n"


@pytest.mark.parametrize(
    ("markdown", "plain"),
    [
        ("see [Resume a run](resume.md)", "see Resume a run (bulkdl help resume)"),
        ("- [resume](resume.md): continue", "- resume: continue"),
        ("[the keys](config.md#keys)", "the keys (bulkdl help config)"),
        ("[Archive](#archive-options)", "Archive"),
        ("[TCIA](https://example.org/a.html)", "TCIA (https://example.org/a.html)"),
        ("<!-- generated: a -->\n\nText\n\n<!-- end -->\n", "Text"),
        ("![A run](run.svg)\n\nText", "Text"),
        ("# Title\n\nOne\ntwo.", "# Title\n\nOne two."),
        ("Run:\n\n```sh\nbulkdl help\n\nls\n```\n\nThen.", "Run:\n\n    bulkdl help\n\n    ls\n\nThen."),
    ],
)
def test_markdown_becomes_plain_text(markdown: str, plain: str) -> None:
    assert to_text(markdown, width=80) == plain


def test_paragraphs_and_items_are_wrapped_with_their_indent() -> None:
    text = "A paragraph of many words.\n\n- an item of many words\n- another\n\n1. a step of many words"
    assert to_text(text, width=16).splitlines() == [
        "A paragraph of",
        "many words.",
        "",
        "- an item of",
        "  many words",
        "- another",
        "",
        "1. a step of",
        "   many words",
    ]


def test_code_keeps_its_lines_however_long() -> None:
    line = "bulkdl mirror --archive demo --collection PYDICOM-IMAGES --to images"
    assert to_text(f"```sh\n{line}\n```\n", width=20) == f"    {line}"


def test_the_last_column_of_a_table_is_wrapped_beside_the_others() -> None:
    assert to_text(TABLE, width=32).splitlines() == [
        "code  meaning",
        "0     all is there",
        "130   it was interrupted and can",
        "      be continued",
    ]


def test_a_table_without_space_beside_its_columns_has_the_last_one_below() -> None:
    assert to_text(TABLE, width=24).splitlines() == [
        "0",
        "    all is there",
        "130",
        "    it was interrupted",
        "    and can be continued",
    ]


def test_a_bar_within_a_cell_is_not_a_border() -> None:
    assert to_text("| option | meaning |\n| --- | --- |\n| `auto\\|N` | how many |\n", width=80).endswith(
        "`auto|N`  how many"
    )
