"""The command `bulkdl`: finds the requested command, runs it, and returns an exit code for every outcome.

The module of a command is imported when the command is invoked, so that `--version` and `--help` start quickly.
"""

import errno
import importlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from bulkdl._version import __version__
from bulkdl.cli import exit_codes
from bulkdl.errors import TOO_MANY_FILES, BulkdlError, DiskError, Interrupted, UserError
from bulkdl.model.formatting import command
from bulkdl.model.text import did_you_mean, one_line

_COMMANDS: Final = {
    "mirror": "Download what is selected into a folder; continue an interrupted run.",
    "resume": "Download everything that a mirror still owes.",
    "sync": "Bring a mirror to what the archive has now.",
    "log": "List the runs on a mirror, and what each changed.",
    "cite": "Print references and licences of a mirror or a selection.",
    "report": "Write one page of HTML on a mirror.",
    "export": "Write the journal of a mirror as a table.",
    "ls": "List data sets; of one its patients, of a patient its series.",
    "plan": "Show what a mirror of the selection needs; download nothing.",
    "status": "Show what a mirror holds and owes.",
    "verify": "Compare every file of a mirror with its journal.",
    "manifest": "Show, convert, compare and make manifests.",
    "relayout": "Rename the files of a mirror into another layout, or make a view.",
    "merge": "Join mirrors that were made in shards.",
    "push": "Send what a mirror holds to a DICOMweb archive.",
    "adopt": "Take files that another program downloaded into a mirror.",
    "query": "Call one endpoint of an archive.",
    "describe": "Show the parameters and results of an endpoint.",
    "doctor": "Show versions, extras, disk and network, for a report of a problem.",
    "archives": "List the known archives, and whether each answers.",
    "serve": "Serve mirrors or folders of DICOM files as an archive.",
    "help": "Print a page of the documentation.",
    "completion": "Print the script that completes commands in a shell.",
}
# What users of other programs type, and what it is called here.
_HABITS: Final = {
    **dict.fromkeys(("--dry-run", "--list"), "use bulkdl plan, which downloads nothing"),
    **dict.fromkeys(("--dest", "--destination", "--dir", "--local-dir", "--out", "--output", "-o"), "use --to DIR"),
    **dict.fromkeys(("download", "get", "fetch", "pull"), "use bulkdl mirror"),
    **dict.fromkeys(("upload", "send", "store"), "use bulkdl push"),
    **dict.fromkeys(("version", "env", "info"), "use bulkdl --version, or bulkdl doctor"),
    **dict.fromkeys(("check", "audit"), "use bulkdl verify"),
}
# Other writes name their file.
_OUTPUT_FAILED: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
COMPLETE: Final = "_BULKDL_COMPLETE"
"""The environment variable by which a shell asks for completions; see click."""


class _Commands(click.Group):
    """A group with the name and one line of each command, which imports the module of a command on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"bulkdl.cli.commands.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-"):
            hint = f"; {_HABITS[name]}" if name in _HABITS else ""
            hint = hint or did_you_mean(name, _COMMANDS, otherwise=f" (known: {', '.join(_COMMANDS)})")
            raise click.UsageError(f"there is no command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    name="bulkdl",
    cls=_Commands,
    invoke_without_command=True,
    epilog="Guides and reference: bulkdl help [TOPIC].",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, "-V", "--version", message="bulkdl %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Mirror DICOM collections of The Cancer Imaging Archive: resumable, validated, journalled."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def run(arguments: Sequence[str]) -> int:
    """Run `bulkdl ARGUMENTS`; return its exit code. An expected failure is one line on standard error."""
    _prepare_streams()
    try:
        code = _invoke(list(arguments))
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        code = end.exit_code
    except click.UsageError as error:
        code = _fail(UserError(_usage(error)), arguments)
    except click.ClickException as error:
        code = _fail(UserError(error.format_message()), arguments)
    except BulkdlError as error:
        code = _fail(error, arguments)
    except (KeyboardInterrupt, click.Abort):
        code = _fail(Interrupted("interrupted"), arguments)
    except BrokenPipeError:
        _discard_stdout()
        code = exit_codes.Exit.BROKEN_PIPE
    except Exception as error:  # the last resort: a defect is one line as well
        if os.environ.get("BULKDL_TRACEBACK"):
            raise
        code = _fail(_unexpected(error), arguments)
    return int(code)


def _unexpected(error: Exception) -> BulkdlError:
    """What no part of the program expected: a shortage that is met anywhere, such as by an import, or a defect."""
    if isinstance(error, OSError) and error.errno in TOO_MANY_FILES:
        return DiskError("too many open files; everything finished is saved; raise the limit (ulimit -n)")
    if (said := _said_by_system(error)) is not None:
        return DiskError(f"{said}; everything finished is saved")
    is_not_loaded = isinstance(error, ImportError) and "failed to map segment" in str(error)  # the words of glibc
    if is_not_loaded or isinstance(error, MemoryError):
        return DiskError("not enough memory; everything finished is saved: free some, then resume")
    what = f"{type(error).__name__}: {error}"
    return BulkdlError(f"internal error: {what} (set BULKDL_TRACEBACK=1 to see where)")


def _said_by_system(error: Exception) -> str | None:
    """What the system says of a path of the user, or of standard output; None if it is not about those."""
    if isinstance(error, RuntimeError) and "Symlink loop" in str(error):  # pathlib before Python 3.13
        return f"{error}"
    if not isinstance(error, OSError) or isinstance(error, FileNotFoundError):
        return None
    reason = error.strerror or type(error).__name__
    if error.filename is not None:
        return f"cannot use {error.filename}: {reason}"
    return f"cannot write standard output: {reason}" if error.errno in _OUTPUT_FAILED else None


def _invoke(arguments: list[str]) -> int:
    """Run the command. click's own `main` would print and exit when it is interrupted or its reader goes away."""
    if instruction := os.environ.get(COMPLETE):
        from click.shell_completion import shell_complete  # noqa: PLC0415 - a shell asks for completions only

        return shell_complete(cli, {}, "bulkdl", COMPLETE, instruction)
    with cli.make_context("bulkdl", arguments) as ctx:
        result = cli.invoke(ctx)
    return int(result or exit_codes.Exit.OK)


def _usage(error: click.UsageError) -> str:
    if isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter) and error.param:
        text = f"{'/'.join(error.param.opts) or error.param.name}: {error.message}"
        if error.ctx is not None:
            from bulkdl.cli.options import origin  # noqa: PLC0415 - needed for this message only

            if (place := origin(error.ctx, error.param)) is not None:
                text += f" (set in {place})"
    elif isinstance(error, click.NoSuchOption):
        known = [name for param in error.ctx.command.params for name in param.opts] if error.ctx is not None else []
        habit = _HABITS.get(error.option_name)
        hint = f"; {habit}" if habit and error.option_name not in known else did_you_mean(error.option_name, known)
        text = f"there is no option {error.option_name}{hint}"
    elif isinstance(error, click.MissingParameter) and isinstance(error.param, click.Option):
        text = _missing(error.param, error.ctx.params if error.ctx is not None else {})
    else:
        message = error.format_message()
        text = f"{message[:1].lower()}{message[1:]}"
    where = error.ctx.command_path if error.ctx is not None else "bulkdl"
    return f"{text.rstrip('.')} (see {where} --help)"


def _missing(option: click.Option, given: Mapping[str, Any]) -> str:
    """What a required option is for. Programs that take a folder last have users who leave `--to` out."""
    choices = "|".join(option.type.choices) if isinstance(option.type, click.Choice) else option.metavar
    purpose = (option.help or "").rstrip(".")
    text = f"missing option {option.opts[0]} {choices}: {purpose[:1].lower()}{purpose[1:]}"
    words: list[str] = [*given.get("data_sets", ())]
    if option.opts == ["--to"] and len(words) > 1:
        text += f"; use {command('mirror', *words[:-1], '--to', words[-1])}"
    return text


def _fail(error: BulkdlError, arguments: Sequence[str]) -> exit_codes.Exit:
    """Say the error in one line on standard error and, with `--json`, in a document on standard output."""
    with suppress(OSError):
        print(f"bulkdl: {one_line(str(error))}", file=sys.stderr, flush=True)
    if "--json" in arguments:
        try:
            print(exit_codes.document(exit_codes.error_values(error)), flush=True)
        except OSError:  # its reader went away, or its disk is full
            _discard_stdout()
    return exit_codes.for_error(error)


def _prepare_streams() -> None:
    """Make the three standard streams safe to use.

    A command may be started with some of them closed. Python has None there, and the next file that is opened would
    take the place of standard output. Characters that the terminal's encoding does not have are escaped.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            nowhere = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - as long as the process lives
            setattr(sys, name, nowhere)
        elif name != "stdin" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard_stdout() -> None:
    """Replace standard output, whose reader is gone: its buffered text must not fail again when Python exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
