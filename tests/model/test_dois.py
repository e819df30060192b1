from __future__ import annotations

import pytest

from bulkdl.model.dois import doi_in, doi_of_address


@pytest.mark.parametrize(
    ("text", "within", "of_address"),
    [
        (
            "https://doi.org/10.7937/K9/TCIA.2016.ELN8YGLE",
            "10.7937/k9/tcia.2016.eln8ygle",
            "10.7937/k9/tcia.2016.eln8ygle",
        ),
        ("HTTP://DX.DOI.ORG/10.7937/A", "10.7937/a", "10.7937/a"),
        ("doi:10.5281/zenodo.8345959.", "10.5281/zenodo.8345959", None),
        ("see https://doi.org/10.7937/a (and more)", "10.7937/a", None),
        ("https://doi.org.example/10.7937/a", "10.7937/a", None),
        ("https://www.example.org/collections", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_the_doi_in_a_text_and_of_an_address(text: str | None, within: str | None, of_address: str | None) -> None:
    assert (doi_in(text), doi_of_address(text)) == (within, of_address)
