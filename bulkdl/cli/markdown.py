"""Show Markdown in a terminal: paragraphs and tables fit its width, and links name the page or the address.

Covers what the pages of `bulkdl.docs` use: headings, paragraphs, lists, fenced code and tables.
"""

import re
import textwrap
from collections.abc import Sequence
from typing import Final

_COMMENT: Final = re.compile(r"<!--.*?-->\n*", re.DOTALL)
_IMAGE: Final = re.compile(r"!\[[^]]*\]\([^)]*\)\n*")
_LINK: Final = re.compile(r"\[([^]]*)\]\(([^)]*)\)")
_FENCE: Final = re.compile(r"^```[a-z]*\n(.*?)^```$\n*", re.DOTALL | re.MULTILINE)
_MARKER: Final = re.compile(r"^(?:- |[0-9]+\. |)")
_LEAST_CELL: Final = 24  # of the last column; a narrower one is written below its row


def to_text(markdown: str, *, width: int) -> str:
    """`markdown` as plain text whose prose has at most `width` columns. Code keeps its lines."""
    text = _LINK.sub(_plain_link, _IMAGE.sub("", _COMMENT.sub("", markdown)))
    blocks: list[str] = []
    for number, part in enumerate(_FENCE.split(text)):  # prose and code take turns
        if number % 2:
            blocks.append(textwrap.indent(part.rstrip("\n"), "    "))
        else:
            blocks += [_block(paragraph, width) for paragraph in re.split(r"\n{2,}", part.strip("\n")) if paragraph]
    return "\n\n".join(blocks)


def _plain_link(link: re.Match[str]) -> str:
    text, target = link.groups()
    page, suffix, _ = target.partition(".md")
    if not suffix or "/" in page:
        return text if text == target or target.startswith("#") else f"{text} ({target})"
    return text if text.strip("`") == page else f"{text} (bulkdl help {page})"


def _block(paragraph: str, width: int) -> str:
    if paragraph.startswith("#"):
        return paragraph
    if paragraph.startswith("|"):
        return _table(paragraph.splitlines(), width)
    items = re.split(r"\n(?=- |[0-9]+\. )", paragraph)
    return "\n".join(_fill(item, width, " " * len(_MARKER.findall(item)[0])) for item in items)


def _fill(text: str, width: int, indent: str) -> str:
    return textwrap.fill(
        " ".join(text.split()), width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _table(lines: Sequence[str], width: int) -> str:
    """Columns two blanks apart; the last one is wrapped, below its row where there is no space beside it."""
    head, _, *body = (
        [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines
    )
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)][:-1]
    indent = sum(widths) + 2 * len(widths)
    longest = max((len(word) for row in body for word in row[-1].split()), default=0)
    is_wide = width - indent >= max(_LEAST_CELL, longest)
    rows = [head, *body] if is_wide else body
    texts = []
    for row in rows:
        start = "".join(f"{cell:<{size}}  " for cell, size in zip(row, widths, strict=False))
        if not is_wide:
            texts += [start.rstrip(), textwrap.indent(_fill(row[-1], width - 4, ""), "    ")]
        else:
            last = _fill(row[-1], width - indent, "").splitlines() or [""]
            texts += [f"{start}{last[0]}".rstrip(), *(f"{'':<{indent}}{line}" for line in last[1:])]
    return "\n".join(texts)
