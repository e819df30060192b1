"""Controlled data need an agreement: asked for once, remembered in the mirror, exit 3 without it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import ArchiveRefused
from bulkdl.model.events import Event, Noted
from bulkdl.model.settings import FetchSettings
from bulkdl.verbs.runs.agreements import POLICY
from tests.support.commands import run
from tests.support.dicom_files import instances
from tests.support.gen3_server import CommonsObject, Gen3Server, zip_of_series

MADE_UP = list(instances(series=1, per_series=2))
QUICK = FetchSettings(workers=1, concurrency=2, max_attempts=1, wait_scale=0.001)


def server() -> Gen3Server:
    return Gen3Server([CommonsObject(f"{MADE_UP[0].series_uid}.zip", zip_of_series(MADE_UP))])


async def test_nothing_is_downloaded_without_an_agreement_which_the_mirror_remembers(tmp_path: Path) -> None:
    async with server() as commons:
        manifest, agreed = commons.manifest(tmp_path), commons.choice(tmp_path)
        silent = replace(agreed, agrees=False)
        with pytest.raises(ArchiveRefused, match=f"read {POLICY}, and add --yes"):
            await bulkdl.mirror_async(manifest=manifest, to=tmp_path / "m", archive=silent, settings=QUICK)
        assert not commons.store.requests
        report = await bulkdl.mirror_async(manifest=manifest, to=tmp_path / "m", archive=agreed, settings=QUICK)
        assert report.instances.fetched == 2
        again = await bulkdl.mirror_async(manifest=manifest, to=tmp_path / "m", archive=silent, settings=QUICK)
        assert again.instances.reused == 2
        with pytest.raises(ArchiveRefused):  # another mirror has not agreed
            await bulkdl.mirror_async(manifest=manifest, to=tmp_path / "n", archive=silent, settings=QUICK)


async def test_plan_says_that_an_agreement_is_needed_and_needs_none(tmp_path: Path) -> None:
    events: list[Event] = []
    async with server() as commons:
        silent = replace(commons.choice(tmp_path), agrees=False)
        plan = await bulkdl.plan_async(manifest=commons.manifest(tmp_path), archive=silent, sink=events.append)
    assert plan.series.selected == 1
    assert any(POLICY in event.message for event in events if isinstance(event, Noted))


async def test_open_data_need_no_agreement(tmp_path: Path) -> None:
    async with server() as commons:
        open_choice = replace(commons.choice(tmp_path, with_key=False), agrees=False)
        with pytest.raises(ArchiveRefused, match="needs the key of an account"):
            await bulkdl.mirror_async(
                manifest=commons.manifest(tmp_path), to=tmp_path / "m", archive=open_choice, settings=QUICK
            )


async def test_the_command_asks_on_a_terminal_alone_and_ends_with_3_without_one(tmp_path: Path) -> None:
    async with server() as commons:
        config = tmp_path / "config.toml"
        config.write_text(f'[profiles]\ntesting = "drs+{commons.url}"\n')
        key = ("--gen3-credentials", commons.key_file(tmp_path), "--config", config)
        words = ("mirror", commons.manifest(tmp_path), "--to", tmp_path / "m", *key)
        refused = await asyncio.to_thread(run, *words, cache=tmp_path)
        agreed = await asyncio.to_thread(run, *words, "--yes", cache=tmp_path)
        remembered = await asyncio.to_thread(run, "sync", tmp_path / "m", *key, cache=tmp_path)
    assert (refused.code, refused.err.count("\n"), POLICY in refused.err) == (3, 1, True)
    assert (agreed.code, remembered.code) == (0, 0), agreed.err + remembered.err
