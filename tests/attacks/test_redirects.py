"""A failure at another origin is not a failure of the archive: a redirected object that fails there fails by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attacks.hostile import DICOM, JSON, HostileArchive, asks_for, given, silent
from tests.attacks.watching import Watcher, assert_orderly
from tests.support import variants
from tests.support.dicom_files import instances
from tests.support.faults import Action, FaultyServer, Seen, answer, cut, drop, redirect
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums
from tests.support.nowhere import UNKNOWN_HOST, refusing_port

MADE_UP = list(instances(series=2, per_series=4))
VICTIM = MADE_UP[1]
OTHERS = [one for one in MADE_UP if one is not VICTIM]

ELSEWHERE: dict[str, Action] = {
    "401": answer(b"", status=401),
    "403 as an expired signature": answer(b"<Error><Code>AccessDenied</Code></Error>", status=403),
    "407": answer(b"", status=407),
    "429, come back in a day": answer(b"", status=429, headers={"Retry-After": "86400"}),
    "503, come back in a day": answer(b"", status=503, headers={"Retry-After": "86400"}),
    "500": answer(b"", status=500),
    "404": answer(b"", status=404),
    "a page": answer(b"<html>Sign in</html>", headers={"Content-Type": "text/html"}),
    "dropped": drop(),
    "cut": cut(VICTIM.content, after=100, headers=DICOM),
    "JSON": answer(b'{"error": "gone"}', headers=JSON),
}


def assert_one_failed(mirror: Path, failures: list[tuple[str | None, str | None, str]]) -> None:
    assert [(series, instance) for series, instance, _ in failures] == [(VICTIM.series_uid, VICTIM.sop_uid)]
    assert checksums_on_disk(mirror) == journalled_checksums(mirror) == checksums_of(OTHERS)


@pytest.mark.parametrize("name", ["403 as an expired signature", "404", "dropped"])
async def test_a_redirected_object_that_fails_elsewhere_fails_alone(name: str, bulkdl: Watcher, tmp_path: Path) -> None:
    async with FaultyServer(lambda _: ELSEWHERE[name]) as elsewhere:
        target = redirect(f"{elsewhere.url}signed")
        async with HostileArchive(MADE_UP, lambda seen: target if is_victim(seen) else None) as archive:
            ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=10)
    assert_orderly(ended, 1)
    assert_one_failed(tmp_path / "mirror", ended.failures())


async def test_redirected_objects_that_fail_elsewhere_in_every_way_fail_alone(bulkdl: Watcher, tmp_path: Path) -> None:
    made_up = list(instances(series=3, per_series=8))
    hostile = given((one.sop_uid for one in made_up), ELSEWHERE.values())
    async with FaultyServer(lambda seen: hostile[seen.path.removeprefix("/")]) as elsewhere:

        def attack(seen: Seen) -> Action | None:
            uid = seen.query.get("SOPInstanceUID", "")
            return redirect(elsewhere.url + uid) if uid in hostile else None

        async with HostileArchive(made_up, attack) as archive:
            ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=12)
    assert_orderly(ended, 1)
    assert {instance for _, instance, _ in ended.failures()} == set(hostile)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(made_up[len(hostile) :])


async def test_redirects_to_where_nothing_answers_fail_alone(bulkdl: Watcher, tmp_path: Path) -> None:
    with refusing_port() as port:
        places = [f"127.0.0.1:{port}", UNKNOWN_HOST, f"[::1]:{port}", "a..b", "xn--a"]
        hostile = given((one.sop_uid for one in MADE_UP), [redirect(f"http://{place}/object") for place in places])
        async with HostileArchive(MADE_UP) as archive:
            archive.attack = lambda seen: hostile.get(seen.query.get("SOPInstanceUID", ""))
            ended = await bulkdl.run(
                *archive.mirror_everything(tmp_path / "mirror", "--give-up-after", "5s"), within=15
            )
    assert_orderly(ended, 1)
    assert {instance for _, instance, _ in ended.failures()} == set(hostile)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP[len(hostile) :])


NO_ADDRESSES = [
    "file:///etc/passwd",
    "ftp://127.0.0.1/x",
    "javascript:alert(1)",
    "http://",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:0/",
    "//",
    "http://[::1",
    "http://exa mple/",
    "x" * 7000,
    "http://127.0.0.1/" + "%00" * 50,
    "getSingleImage",
    "",
]


async def test_redirects_to_what_is_not_an_address_fail_alone(bulkdl: Watcher, tmp_path: Path) -> None:
    made_up = list(instances(series=1, per_series=len(NO_ADDRESSES) + 3))
    targets: dict[str, Action] = {
        one.sop_uid: redirect(place) for one, place in zip(made_up, NO_ADDRESSES, strict=False)
    }
    async with HostileArchive(made_up) as archive:
        archive.attack = lambda seen: (
            targets.get(seen.query.get("SOPInstanceUID", "")) if asks_for(seen, "getSingleImage") else None
        )
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror", "--give-up-after", "5s"), within=20)
    assert_orderly(ended, 1)
    assert sorted(str(instance) for _, instance, _ in ended.failures()) == sorted(targets)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(made_up[len(NO_ADDRESSES) :])


@pytest.mark.parametrize("status", [401, 403])
async def test_a_list_that_is_redirected_and_refused_elsewhere_is_the_failure_of_its_series(
    status: int, bulkdl: Watcher, tmp_path: Path
) -> None:
    async with FaultyServer(lambda _: answer(b"", status=status)) as elsewhere:
        target = redirect(f"{elsewhere.url}list")
        async with HostileArchive(MADE_UP) as archive:
            archive.attack = lambda seen: target if asks_for(seen, "getSOPInstanceUIDs", VICTIM.series_uid) else None
            ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=10)
    assert_orderly(ended, 1)
    assert [(series, instance) for series, instance, _ in ended.failures()] == [(VICTIM.series_uid, None)]
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP[4:])


async def test_a_redirected_zip_that_is_refused_elsewhere_is_fetched_singly(bulkdl: Watcher, tmp_path: Path) -> None:
    async with FaultyServer(lambda _: answer(b"", status=403)) as elsewhere:
        target = redirect(f"{elsewhere.url}zip")
        async with HostileArchive(MADE_UP) as archive:
            archive.attack = lambda seen: target if asks_for(seen, "getImageWithMD5Hash", VICTIM.series_uid) else None
            words = archive.mirror_everything(tmp_path / "mirror", "--transport", "zip")
            ended = await bulkdl.run(*words, within=10)
    assert_orderly(ended, 0)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


async def test_a_401_from_elsewhere_says_nothing_of_our_login(bulkdl: Watcher, tmp_path: Path) -> None:
    async with FaultyServer(lambda _: answer(b"", status=401)) as elsewhere:
        target = redirect(f"{elsewhere.url}signed")
        async with HostileArchive(MADE_UP, lambda seen: target if is_victim(seen) else None) as archive:
            words = archive.mirror_everything(tmp_path / "mirror", "--username", "user", kind="nbia")
            ended = await bulkdl.run(*words, within=10, more={"BULKDL_PASSWORD": "a-password"})
            logins = archive.asked("token")
        assert not any("authorization" in seen.headers for seen in elsewhere.requests)
    assert_orderly(ended, 1)
    assert_one_failed(tmp_path / "mirror", ended.failures())
    assert 1 <= len(logins) <= variants.WORKERS  # each process logs in


async def test_a_silent_object_elsewhere_fails_alone(bulkdl: Watcher, tmp_path: Path) -> None:
    async with FaultyServer(lambda _: silent()) as elsewhere:
        target = redirect(f"{elsewhere.url}signed")
        async with HostileArchive(MADE_UP, lambda seen: target if is_victim(seen) else None) as archive:
            ended = await bulkdl.run(
                *archive.mirror_everything(tmp_path / "mirror", "--give-up-after", "3s"), within=12
            )
    assert_orderly(ended, 1)
    assert_one_failed(tmp_path / "mirror", ended.failures())


def is_victim(seen: Seen) -> bool:
    return asks_for(seen, "getSingleImage", VICTIM.sop_uid)
