from __future__ import annotations

import pytest

from bulkdl.model.licenses import short_license


@pytest.mark.parametrize(
    ("name", "address", "short"),
    [
        ("Creative Commons Attribution 3.0", "https://creativecommons.org/licenses/by/3.0/", "CC BY 3.0"),
        ("a name", "HTTP://www.CreativeCommons.org/licenses/by-nc/4.0/legalcode", "CC BY-NC 4.0"),
        ("TCIA Restricted", "https://example.org/licenses/by/3.0/", "TCIA Restricted"),
        ("CC0", "https://creativecommons.org/publicdomain/zero/1.0/", "CC0"),
        (None, None, None),
    ],
)
def test_the_address_of_creative_commons_states_the_short_name(
    name: str | None, address: str | None, short: str | None
) -> None:
    assert short_license(name, address) == short
