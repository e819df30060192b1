"""The configuration file is read whole or refused with the line to blame."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkdl.cli import config
from bulkdl.cli.config import load_configuration, parse_configuration
from bulkdl.errors import ConfigurationError

OPTIONS = ("archive", "rate_limit", "private")


def test_reads_profiles_and_defaults() -> None:
    read = parse_configuration(
        '[profiles]\nlab = "nbia+http://localhost/x"\n[defaults]\nrate-limit = "5MB/s"\nprivate = true\n',
        source="c.toml",
        options=OPTIONS,
    )
    assert read.profiles == {"lab": "nbia+http://localhost/x"}
    assert read.defaults == {"rate_limit": "5MB/s", "private": True}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('\n[defaults]\narchve = "x"', "c.toml, line 3: .*did you mean archive", id="misspelt option"),
        pytest.param('[defaults]\ncollection = "x"', "c.toml, line 2: .*known are archive, private", id="no option"),
        pytest.param(
            '[profile]\nlab = "x"', "c.toml, line 1: unknown table 'profile'.*did you mean profiles", id="table"
        ),
        pytest.param("profiles = 3", r"c.toml, line 1: 'profiles' is not a table: write \[profiles\]", id="no table"),
        pytest.param("[profiles]\nlab = 3", "c.toml, line 2: the profile 'lab' is not text", id="profile of a number"),
        pytest.param('[profiles]\ndemo = "x"', "c.toml, line 2: 'demo' always means", id="demo taken"),
        pytest.param("[defaults]\narchive = ['x']", "c.toml, line 2: the value of 'archive'", id="value of a list"),
        pytest.param("[defaults]\narchive = x\n", "c.toml: .*line 2", id="no TOML"),
    ],
)
def test_says_what_is_wrong_and_where(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_configuration(text, source="c.toml", options=OPTIONS)


def test_the_default_file_need_not_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config.default_path().is_relative_to(tmp_path)
    assert load_configuration(None, options=OPTIONS).source is None


def test_the_default_file_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    config.default_path().parent.mkdir()
    config.default_path().write_text('[defaults]\narchive = "nlst"\n')
    assert load_configuration(None, options=OPTIONS).defaults == {"archive": "nlst"}


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no configuration file"):
        load_configuration(tmp_path / "none.toml", options=OPTIONS)


def test_a_folder_or_a_binary_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path, tmp_path / "binary"):
        with pytest.raises(ConfigurationError) as caught:
            load_configuration(path, options=OPTIONS)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_of_an_editor_of_windows_is_read(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes('[defaults]\r\narchive = "idc"\r\n'.encode(encoding))
    assert load_configuration(tmp_path / "c.toml", options=OPTIONS).defaults == {"archive": "idc"}
