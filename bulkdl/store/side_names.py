"""The names of the texts beside the images of a mirror, and of its Collections. Pure."""

from typing import Final

from bulkdl.store.safe_names import cleaned, fold, safe, suffixed

METADATA: Final = "metadata.csv"
README: Final = "README.txt"
LICENSE: Final = "LICENSE"
CITATION: Final = "CITATION.bib"
SUPPORTING: Final = "_supporting"
"""The folder of a Collection for data that support its images."""
_COLLECTIONS: Final = "_collections"  # for those that have no folder of files to themselves
_OF_MIRROR: Final = frozenset({METADATA, README})
_OF_COLLECTION: Final = frozenset({LICENSE, CITATION})
_RESERVED: Final = frozenset(map(fold, (*_OF_MIRROR, *_OF_COLLECTION, _COLLECTIONS, SUPPORTING)))
_LONGEST_NAME: Final = 100


def is_side_file(path: str) -> bool:
    """Whether a path relative to a mirror is that of a text beside its images."""
    folder, _, name = path.rpartition("/")
    if not folder:
        return name in _OF_MIRROR
    return name in _OF_COLLECTION and (folder.count("/") == 0 or folder.rpartition("/")[0] == _COLLECTIONS)


def kept_free(name: str, true_text: str) -> str:
    """A name for a folder of images: another one where a text may need it; `true_text` is what it stands for."""
    return suffixed(cleaned(name), true_text) if fold(name) in _RESERVED else name


def folder_of_collection(collection: str, folder: str | None) -> str:
    """Where the texts of a Collection are: in its folder of images, or in a separate one if it has none."""
    return folder or f"{_COLLECTIONS}/{safe(collection, _LONGEST_NAME)}"
