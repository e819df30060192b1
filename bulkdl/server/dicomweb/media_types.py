"""The media types that a client accepts: parse an `Accept` header, and choose what is sent. Pure.

Clients write them in many ways: with the type of the parts quoted, as the standard wants it, or not (OHIF), with the
transfer syntax inside the quotes, in lists with qualities, or not at all. A range that cannot be parsed is ignored.

Source: RFC 9110 §12.5.1, RFC 2387 (`multipart/related`), PS3.18 §8.7.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

DICOM: Final = "application/dicom"
DICOM_JSON: Final = "application/dicom+json"
JSON: Final = "application/json"
OCTET_STREAM: Final = "application/octet-stream"
ANY: Final = "*/*"
ANY_SYNTAX: Final = "*"

_MULTIPART: Final = "multipart/related"
_WHOLE_MULTIPART: Final = frozenset({_MULTIPART, "multipart/*"})
_PIECE: Final = re.compile(r'[^,;"\\]+|"(?:[^"\\]|\\.)*"|[,;]', re.DOTALL)
_RANGE: Final = re.compile(r"[\w!#$&^.+*-]+/[\w!#$&^.+*-]+", re.ASCII)
_LONGEST: Final = 4_096


class Offer(NamedTuple):
    """What a client takes: parts or a single body, or either if `is_multipart` is None; of which type.

    `syntax` is the transfer syntax that it asks for, `*` for any, None if it names none.
    """

    media: str
    is_multipart: bool | None = None
    syntax: str | None = None

    def takes(self, media: str) -> bool:
        """Whether the client takes this media type."""
        kind = media.partition("/")[0]
        return self.media in {media, ANY, f"{kind}/*"}

    def takes_syntax(self, stored: str | None) -> bool:
        """Whether the client takes a data set as it is stored. One that names no transfer syntax does."""
        return self.syntax in {None, ANY_SYNTAX, stored}


def read_accept(header: str | None) -> list[Offer]:
    """What the client takes, the best first; anything if it does not say."""
    if header is None or not header.strip():
        return [Offer(ANY)]
    weighed = [(quality, offer) for words in _ranges(header[:_LONGEST]) for quality, offer in _offers(words)]
    return [offer for quality, offer in sorted(weighed, key=lambda pair: -pair[0]) if quality > 0]


def json_type(offers: Iterable[Offer]) -> str | None:
    """The media type of an answer in JSON; None if the client takes none."""
    for offer in offers:
        if offer.is_multipart:
            continue
        for media in (DICOM_JSON, JSON):
            if offer.takes(media):
                return media
    return None


def _ranges(header: str) -> Iterator[list[str]]:
    """The media ranges of a header, each with its parameters, split where no quotes are."""
    words, word = list[str](), ""
    for piece in _PIECE.findall(header):
        if piece in ",;":
            words.append(word.strip())
            word = ""
            if piece == ",":
                yield words
                words = []
        else:
            word += piece
    yield [*words, word.strip()]


def _offers(words: list[str]) -> Iterator[tuple[float, Offer]]:
    media, parameters = words[0].lower(), _parameters(words[1:])
    if _RANGE.fullmatch(media) is None:
        return
    quality, syntax = _quality(parameters.get("q")), parameters.get("transfer-syntax")
    if media not in _WHOLE_MULTIPART:
        yield quality, Offer(media, None if media == ANY else False, syntax)
        return
    inner, *more = parameters.get("type", ANY).split(";")
    syntax = _parameters(more).get("transfer-syntax", syntax)
    if _RANGE.fullmatch(inner := inner.strip().lower()):
        yield quality, Offer(inner, is_multipart=True, syntax=syntax)


def _parameters(words: Iterable[str]) -> Mapping[str, str]:
    pairs = (word.partition("=") for word in words)
    return {name.strip().lower(): _unquoted(value.strip()) for name, _, value in pairs if value}


def _unquoted(value: str) -> str:
    is_quoted = len(value) > 1 and value[0] == value[-1] == '"'
    return re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL) if is_quoted else value


def _quality(text: str | None) -> float:
    try:
        return min(max(float(text), 0.0), 1.0) if text is not None else 1.0
    except ValueError:
        return 1.0
