from __future__ import annotations

from datetime import date

from bulkdl.archive.idc.release import Release


def test_describes_a_release_and_its_age() -> None:
    release = Release(25, "25.0.5", date(2026, 9, 26))
    assert release.described(date(2026, 11, 1)) == "IDC release 25 (2026-09-26, index 25.0.5)"
    assert release.described(date(2027, 9, 26)).endswith(
        "25.0.5): 365 days old, there may be a newer one: bulkdl archives --update-index"
    )
    assert str(Release(3)) == "IDC release 3"
