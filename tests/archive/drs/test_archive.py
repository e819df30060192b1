"""A data commons of Gen3, from a manifest to a mirror, over real sockets: whole, refused, expired, damaged."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import ArchiveRefused, BulkdlError, ConfigurationError, SelectionError
from bulkdl.journal.journal import Journal
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.reports.run import RunReport
from bulkdl.model.settings import FetchSettings
from bulkdl.runtime.disk import JOURNAL
from bulkdl.verbs.adopt import adopt_async
from bulkdl.verbs.mirror import mirror_async
from bulkdl.verbs.plan import plan_async
from bulkdl.verbs.resume import resume_async
from bulkdl.verbs.sync import sync_async
from bulkdl.verbs.verify import verify_async
from tests.support.commands import run
from tests.support.dicom_files import MadeUp, instances
from tests.support.faults import Action, Seen, answer, cut, redirect
from tests.support.gen3_server import CommonsObject, Gen3Server, jwt, object_id_of, zip_of_series
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums

SERIES = 3
MADE_UP = [replace(one, collection="DEMO", patient_id=one.patient_id) for one in instances(series=SERIES, per_series=4)]
QUICK = FetchSettings(workers=1, concurrency=4, max_attempts=3, wait_scale=0.001, give_up_after_seconds=5.0)


def of_series(number: int) -> list[MadeUp]:
    return MADE_UP[4 * number : 4 * number + 4]


def zips() -> list[CommonsObject]:
    return [
        CommonsObject(f"{of_series(number)[0].series_uid}.zip", zip_of_series(of_series(number), stored=number == 1))
        for number in range(SERIES)
    ]


def expected(made_up: Sequence[MadeUp]) -> dict[str, str]:
    """The checksums of a complete mirror: the manifest names the Patient."""
    return checksums_of([replace(one, patient_id="DC-01") for one in made_up])


@dataclass
class Scene:
    """A mirror of a data commons, and everything that was said of it."""

    server: Gen3Server
    folder: Path
    said: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.folder / "mirror"

    async def mirror(self, **options: object) -> RunReport:
        manifest = options.pop("manifest", None) or self.server.manifest(self.folder)
        choice = options.pop("archive", None) or self.server.choice(self.folder)
        return await self.heard(
            mirror_async(
                manifest=manifest,  # type: ignore[arg-type]
                to=self.root,
                archive=choice,  # type: ignore[arg-type]
                settings=options.pop("settings", QUICK),  # type: ignore[arg-type]
                sink=lambda event: self.said.append(repr(event)),
            )
        )

    async def heard(self, work: object) -> RunReport:
        try:
            report: RunReport = await work  # type: ignore[misc]
        except BulkdlError as error:
            self.said += [str(error), repr(error), json.dumps(error.report, default=str)]
            raise
        self.said.append(json.dumps(report.as_json()))
        return report

    def check_no_secret(self) -> None:
        """No secret is in any file, the journal among them, nor in any message, event or report."""
        texts = [text.encode() for text in self.said]
        texts += [path.read_bytes() for path in self.root.rglob("*") if path.is_file()]
        assert texts
        for secret in self.server.secrets:
            assert not [text for text in texts if secret.encode() in text]


async def test_zips_of_series_become_a_mirror_whose_instances_are_held_by_their_uids(tmp_path: Path) -> None:
    async with Gen3Server(zips()) as server:
        scene = Scene(server, tmp_path)
        report = await scene.mirror()
        sent = list(server.store.requests)
        again = await scene.mirror()
        assert len(server.store.requests) == len(sent)
    assert (report.outcome, report.failures, report.instances.fetched) == (RunOutcome.COMPLETE, (), 12)
    assert (again.outcome, again.instances.reused) == (RunOutcome.COMPLETE, 12)
    assert checksums_on_disk(scene.root) == expected(MADE_UP) == journalled_checksums(scene.root)
    assert all("authorization" not in seen.headers for seen in server.store.requests)
    assert len(server.tokens) <= 2  # one for each run
    scene.check_no_secret()


async def test_resume_sync_verify_and_adopt_go_on_with_what_a_manifest_named(tmp_path: Path) -> None:
    async with Gen3Server(zips()) as server:
        scene, choice = Scene(server, tmp_path), server.choice(tmp_path)
        server.denied = {server.objects[0].name}
        assert (await scene.mirror()).outcome is RunOutcome.PARTIAL
        server.denied = set()
        choice = replace(choice, name="testing")
        resumed = await scene.heard(resume_async(scene.root, archive=choice, settings=QUICK))
        assert (resumed.outcome, checksums_on_disk(scene.root)) == (RunOutcome.COMPLETE, expected(MADE_UP))
        synced = await scene.heard(sync_async(scene.root, archive=choice, settings=QUICK))
        assert (synced.outcome, synced.instances.fetched) == (RunOutcome.COMPLETE, 0)
        victim = next(scene.root.rglob("*.dcm"))
        victim.write_bytes(b"x" + victim.read_bytes()[1:])
        await verify_async(scene.root, repair=True, archive=choice, settings=QUICK)
        assert checksums_on_disk(scene.root) == expected(MADE_UP)
        adopted = await adopt_async(scene.root / "DEMO", to=tmp_path / "adopted", archive="nbia-v1+http://127.0.0.1:9")
        assert adopted.adopted == 12
    assert checksums_on_disk(scene.root) == expected(MADE_UP)
    scene.check_no_secret()


async def test_single_files_are_joined_to_series_by_their_headers(tmp_path: Path) -> None:
    names = [one.sop_uid if number % 2 else f"{number}.dcm" for number, one in enumerate(MADE_UP)]
    async with Gen3Server(
        [CommonsObject(name, one.content) for name, one in zip(names, MADE_UP, strict=True)]
    ) as server:
        scene = Scene(server, tmp_path)
        report = await scene.mirror()
    assert (report.outcome, report.series.complete) == (RunOutcome.COMPLETE, SERIES)
    assert checksums_on_disk(scene.root) == expected(MADE_UP)
    scene.check_no_secret()


async def test_objects_that_are_not_dicom_are_kept_as_files_of_their_collection(tmp_path: Path) -> None:
    others = [CommonsObject("report.pdf", b"%PDF-1.7 ..."), CommonsObject("data", b"neither")]
    wrong = with_checksum(CommonsObject("wrong.csv", b"a,b"), "sha256", "0" * 64)
    async with Gen3Server([*zips()[:1], *others, wrong]) as server:
        scene = Scene(server, tmp_path)
        report = await scene.mirror()
        cited = await bulkdl.cite_async(str(scene.root))
        again = await scene.mirror()
    folder = scene.root / "DEMO" / "_supporting"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {each.name: each.content for each in others}
    assert [failure.error for failure in report.failures] == ["checksum-mismatch"]
    assert (again.instances.fetched, again.instances.reused) == (0, 6)
    assert [reference["title"] for reference in cited.references] == ["DEMO"]  # and not the paper of the IDC
    scene.check_no_secret()


async def test_a_zip_whose_name_is_not_a_uid_and_a_compact_identifier_are_resolved(tmp_path: Path) -> None:
    manifest = tmp_path / "list.txt"
    manifest.write_text(f"# two\ndrs://{object_id_of('a.zip').replace('/', ':')}\n")
    async with Gen3Server([CommonsObject("a.zip", zip_of_series(of_series(0)))]) as server:
        choice = replace(server.choice(tmp_path), profiles={"dg.TEST": f"drs+{server.url}"})
        report = await Scene(server, tmp_path).mirror(manifest=manifest, archive=choice)
        plan = await plan_async(manifest=manifest, archive=choice)
    assert (report.outcome, report.instances.fetched) == (RunOutcome.COMPLETE, 4)
    assert len(plan.series_uids) == 1
    assert {path.name for path in (tmp_path / "mirror").rglob("*.dcm")} == {
        f"{one.sop_uid}.dcm" for one in of_series(0)
    }


# --- tokens, keys and addresses ---------------------------------------------------------------------------------------


async def test_a_token_that_expires_in_the_middle_of_a_run_is_renewed(tmp_path: Path) -> None:
    async with Gen3Server(zips()) as server:

        def revoke(seen: Seen) -> Action | None:
            if "/access/" in seen.path and len(server.tokens) == 1 and len(server.signatures) == 2:
                server.dead.update(server.tokens)
            return None

        server.fault = revoke
        scene = Scene(server, tmp_path)
        report = await scene.mirror()
    assert (report.outcome, report.failures) == (RunOutcome.COMPLETE, ())
    assert len(server.tokens) == 2  # one exchange for all requests
    assert checksums_on_disk(scene.root) == expected(MADE_UP)
    scene.check_no_secret()


async def test_tokens_that_are_always_refused_are_not_shown_and_not_exchanged_for_each_object(tmp_path: Path) -> None:
    async with Gen3Server(zips()) as server:

        def revoke(seen: Seen) -> Action | None:
            del seen
            server.dead.update(server.tokens)
            return None

        server.fault = revoke
        scene = Scene(server, tmp_path)
        with pytest.raises(ArchiveRefused, match="authentication error: …"):  # in the words of the archive
            await scene.mirror()
    assert 2 <= len(server.tokens) <= 4
    scene.check_no_secret()


async def test_an_address_that_expired_is_replaced_and_is_not_a_refusal(tmp_path: Path) -> None:
    async with Gen3Server(zips()) as server:

        def expire(seen: Seen) -> Action | None:
            if seen.path.startswith("/controlled/") and seen.ordinal == 2:
                server.dead.add(seen.query["X-Amz-Signature"])
            return None

        server.fault = expire
        scene = Scene(server, tmp_path)
        report = await scene.mirror()
    assert (report.outcome, report.failures, report.retries) == (RunOutcome.COMPLETE, (), 0)
    assert server.dead
    assert checksums_on_disk(scene.root) == expected(MADE_UP)
    scene.check_no_secret()


async def test_a_refused_key_ends_the_run_in_the_words_of_the_archive(tmp_path: Path) -> None:
    async with Gen3Server(zips(), refuses_key=True) as server:
        scene = Scene(server, tmp_path)
        with pytest.raises(ArchiveRefused, match=r"has been revoked.*create a new key"):
            await scene.mirror()
        assert len(server.requested("access_token")) == 1  # repeated attempts would lock the account
    scene.check_no_secret()


async def test_without_a_key_the_refusal_says_how_to_get_one(tmp_path: Path) -> None:
    async with Gen3Server(zips()) as server:
        scene = Scene(server, tmp_path)
        with pytest.raises(ArchiveRefused, match=r"--gen3-credentials.*nih-controlled-data-access-policy"):
            await scene.mirror(archive=server.choice(tmp_path, with_key=False))
    scene.check_no_secret()


async def test_a_denied_object_fails_alone_in_the_words_of_the_archive(tmp_path: Path) -> None:
    async with Gen3Server(zips()) as server:
        server.denied = {server.objects[2].name}
        scene = Scene(server, tmp_path)
        report = await scene.mirror()
    assert report.outcome is RunOutcome.PARTIAL
    (failure,) = report.failures
    assert (failure.error, failure.series) == ("access-denied", of_series(2)[0].series_uid)
    assert "permission on this file: phs004225" in failure.message
    assert checksums_on_disk(scene.root) == expected(MADE_UP[:8])
    scene.check_no_secret()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (jwt(exp=1_000_000_000), "it expired on 2001-09-09"),
        (jwt(iss="https://evil.example/user"), "issued by evil.example"),
    ],
)
async def test_a_key_that_is_expired_or_of_another_host_is_not_sent(tmp_path: Path, key: str, message: str) -> None:
    async with Gen3Server(zips()) as server:
        choice = replace(server.choice(tmp_path), gen3_credentials=server.key_file(tmp_path, key))
        with pytest.raises(ArchiveRefused, match=message):
            await Scene(server, tmp_path).mirror(archive=choice)
        assert not server.requested("access_token")


async def test_a_key_file_that_others_may_read_is_named(tmp_path: Path) -> None:
    async with Gen3Server(zips()[:1]) as server:
        scene, choice = Scene(server, tmp_path), server.choice(tmp_path)
        server.key_file(tmp_path).chmod(0o644)
        await scene.mirror(archive=choice)
    assert any("chmod 600" in text for text in scene.said)


@pytest.mark.parametrize(
    ("code", "expected_text"),
    [(0, "complete"), (3, "the key of --gen3-credentials is refused")],
    ids=["accepted", "refused"],
)
async def test_the_command_shows_no_secret_and_ends_with_the_code_of_the_contract(
    tmp_path: Path, code: int, expected_text: str
) -> None:
    async with Gen3Server(zips()[:1], refuses_key=code > 0) as server:
        config = tmp_path / "config.toml"
        config.write_text(f'[profiles]\ntesting = "drs+{server.url}"\n')
        words: list[str | Path] = [
            "mirror",
            server.manifest(tmp_path),
            "--to",
            tmp_path / "mirror",
            "--config",
            config,
            "--yes",
        ]
        more = {"BULKDL_GEN3_CREDENTIALS": str(server.key_file(tmp_path))}
        for options in (["--json"], ["--progress", "json"]):
            done = await asyncio.to_thread(run, *words, *options, cache=tmp_path, more=more)
            assert (done.code, expected_text in done.out + done.err) == (code, True)
            assert "Traceback" not in done.err
            assert not [secret for secret in server.secrets if secret in done.out + done.err]
        scene = Scene(server, tmp_path, ["-"])
        scene.check_no_secret()


async def test_a_resumed_mirror_sends_the_key_only_where_the_user_names_it(tmp_path: Path) -> None:
    async with Gen3Server(zips()[:1]) as server:
        await Scene(server, tmp_path).mirror(archive=replace(server.choice(tmp_path), name=f"drs+{server.url}"))
        key: list[str | Path] = ["--gen3-credentials", server.key_file(tmp_path)]
        refused = await asyncio.to_thread(run, "resume", tmp_path / "mirror", *key, cache=tmp_path)
        named = ["--archive", f"drs+{server.url}"]
        resumed = await asyncio.to_thread(run, "resume", tmp_path / "mirror", *key, *named, cache=tmp_path)
    assert (refused.code, "only the journal of the mirror names" in refused.err) == (2, True)
    assert resumed.code == 0


@pytest.mark.parametrize("content", ["", "{}", '{"api_key": 3}', '["s3cret"]', "s3cret"])
async def test_a_file_that_is_not_a_key_file_is_named_and_not_shown(tmp_path: Path, content: str) -> None:
    async with Gen3Server(zips()[:1]) as server:
        choice = server.choice(tmp_path)
        (tmp_path / "credentials.json").write_text(content)
        with pytest.raises(ConfigurationError, match=r"credentials\.json' is not a key file of Gen3") as caught:
            await Scene(server, tmp_path).mirror(archive=choice)
    assert "s3cret" not in str(caught.value)


# --- hosts ------------------------------------------------------------------------------------------------------------


async def test_a_host_that_no_profile_names_is_never_asked(tmp_path: Path) -> None:
    async with Gen3Server(zips()) as server:
        choice = replace(server.choice(tmp_path), profiles={})
        with pytest.raises(ConfigurationError, match=f"{server.netloc}, which is not a known data commons"):
            await Scene(server, tmp_path).mirror(archive=choice)
        assert not server.commons.requests


async def test_a_data_commons_is_not_searched(tmp_path: Path) -> None:
    async with Gen3Server(zips()) as server:
        choice = replace(server.choice(tmp_path), name="testing")
        with pytest.raises(SelectionError, match="give a manifest"):
            await mirror_async(collection="DEMO", to=tmp_path / "m", archive=choice)
        with pytest.raises(SelectionError, match="give a manifest"):
            await bulkdl.ls_async(archive=choice)


@pytest.mark.parametrize(
    "address",
    ["http://10.0.0.1/a?X-Amz-Signature=s3cret", "https://192.168.1.1/a?sig=s3cret", "ftp://x.example/s3cret"],
)
async def test_an_address_on_a_private_network_is_not_requested(tmp_path: Path, address: str) -> None:
    def sign(seen: Seen) -> Action | None:
        return answer(json.dumps({"url": address}).encode()) if "/access/" in seen.path else None

    async with Gen3Server(zips()[:1], fault=sign) as server:
        scene = Scene(server, tmp_path)
        report = await scene.mirror(settings=replace(QUICK, max_attempts=1))
        assert not server.store.requests
    (failure,) = report.failures
    assert (failure.error, "is not requested" in failure.message) == ("unexpected-answer", True)
    assert not any("s3cret" in text for text in scene.said)


async def test_a_key_is_never_redirected(tmp_path: Path) -> None:
    def elsewhere(seen: Seen) -> Action | None:
        return redirect(f"{server.store.url}steal", status=307) if seen.path.endswith("access_token") else None

    async with Gen3Server(zips()[:1], fault=elsewhere) as server:
        with suppress(BulkdlError):
            await Scene(server, tmp_path).mirror(settings=replace(QUICK, max_attempts=1))
        assert not server.store.requests


# --- bytes ------------------------------------------------------------------------------------------------------------


def with_checksum(stored: CommonsObject, kind: str, digits: str) -> CommonsObject:
    return replace(stored, checksums={kind: digits})


@pytest.mark.parametrize(("kind", "length"), [("md5", 32), ("sha256", 64), ("crc32", 8)])
async def test_no_instance_of_a_zip_with_a_wrong_checksum_is_kept(tmp_path: Path, kind: str, length: int) -> None:
    first, *others = zips()
    async with Gen3Server([with_checksum(first, kind, "0" * length), *others]) as server:
        scene = Scene(server, tmp_path)
        report = await scene.mirror()
        downloads = [seen for seen in server.store.requests if first.name in seen.path and "range" not in seen.headers]
    assert report.outcome is RunOutcome.PARTIAL
    assert {failure.error for failure in report.failures} == {"checksum-mismatch"}
    assert len(downloads) == 3  # the list of a small zip, and twice, in case that the bytes were damaged on the way
    assert checksums_on_disk(scene.root) == expected(MADE_UP[4:])
    assert not list((scene.root / ".bulkdl" / "partial").iterdir())
    scene.check_no_secret()


async def test_right_checksums_of_every_kind_are_accepted(tmp_path: Path) -> None:
    def known(stored: CommonsObject) -> CommonsObject:
        hashes = {kind: hashlib.new(kind, stored.content).hexdigest() for kind in ("md5", "sha1", "sha256", "sha512")}
        return replace(
            stored, checksums={**hashes, "crc32c": "unreadable", "etag": "0" * 32}, size=str(len(stored.content))
        )

    async with Gen3Server([known(each) for each in zips()]) as server:
        report = await Scene(server, tmp_path).mirror()
    assert report.outcome is RunOutcome.COMPLETE


async def test_a_single_file_with_a_wrong_sha256_fails(tmp_path: Path) -> None:
    stored = CommonsObject("one.dcm", MADE_UP[0].content, checksums={"sha256": "0" * 64})
    async with Gen3Server([stored]) as server:
        report = await Scene(server, tmp_path).mirror()
    assert [failure.error for failure in report.failures] == ["checksum-mismatch"]


async def test_a_record_that_differs_from_the_manifest_or_from_the_object_is_a_failure(tmp_path: Path) -> None:
    first, second, third = zips()
    async with Gen3Server([first, replace(second, size=len(second.content) + 1), third]) as server:
        scene, manifest = Scene(server, tmp_path), server.manifest(tmp_path)
        md5 = first.record["checksums"][0]["checksum"]
        manifest.write_text(manifest.read_text().replace(md5, "0" * 32))
        report = await scene.mirror(manifest=manifest, settings=replace(QUICK, max_attempts=1))
    messages = sorted(failure.message for failure in report.failures)
    assert len(messages) == 2
    assert "says MD5" in " ".join(messages)
    assert checksums_on_disk(scene.root) == expected(of_series(2))


async def test_a_zip_that_breaks_off_is_continued_where_it_broke(tmp_path: Path) -> None:
    large = list(instances(series=1, per_series=4, rows=1024))
    stored = CommonsObject(f"{large[0].series_uid}.zip", zip_of_series(large, stored=True))

    def break_off(seen: Seen) -> Action | None:
        is_whole = seen.path.startswith("/controlled/") and "range" not in seen.headers
        tag = f'"{hashlib.sha256(stored.content).hexdigest()[:16]}-2"'
        return cut(stored.content, after=3 << 20, headers={"ETag": tag}) if is_whole else None

    async with Gen3Server([stored], fault=break_off) as server:
        report = await Scene(server, tmp_path).mirror()
        ranges = [seen.headers["range"] for seen in server.store.requests if "if-match" in seen.headers]
    assert (report.outcome, report.instances.fetched) == (RunOutcome.COMPLETE, 4)
    assert len(ranges) == 1
    assert int(ranges[0].removeprefix("bytes=").rstrip("-")) >= 1 << 20


async def test_an_invalid_member_is_quarantined_and_the_others_are_kept(tmp_path: Path) -> None:
    broken = [*of_series(0)[:3], replace(of_series(0)[3], content=of_series(0)[3].content[:-20])]
    stored = CommonsObject(f"{broken[0].series_uid}.zip", zip_of_series(broken))
    async with Gen3Server([stored]) as server:
        scene = Scene(server, tmp_path)
        report = await scene.mirror()
        accepting = await scene.mirror(settings=replace(QUICK, accept_unsound=True))
    assert [failure.error for failure in report.failures] == ["unsound-at-source"]
    assert report.instances.fetched == 3
    assert (accepting.outcome, accepting.instances.fetched) == (RunOutcome.COMPLETE, 1)


async def test_what_a_killed_run_left_is_downloaded_by_the_next(tmp_path: Path) -> None:
    async with Gen3Server(zips()) as server:
        scene, stop = Scene(server, tmp_path), asyncio.Event()

        def stop_soon(seen: Seen) -> Action | None:
            if seen.path.startswith("/controlled/") and "range" not in seen.headers:
                stop.set()
            return None

        server.fault = stop_soon
        report = await mirror_async(
            manifest=server.manifest(tmp_path),
            to=scene.root,
            archive=server.choice(tmp_path),
            settings=replace(QUICK, concurrency=1),
            stop=stop,
        )
        assert report.outcome is RunOutcome.INTERRUPTED
        server.fault = lambda _: None
        assert (await scene.mirror()).outcome is RunOutcome.COMPLETE
    assert checksums_on_disk(scene.root) == expected(MADE_UP)
    with Journal.open_readonly(scene.root / JOURNAL) as journal:
        places = {row.series.location for row in journal.all_series()}
    assert all(place and place.startswith("drs://") and "Signature" not in place for place in places)
