"""The command `dln`: the group of commands, the entry point, the exit codes.

Exit codes: 0 done; 1 a check failed or the run failed; 2 wrong usage or a wrong spec;
130 interrupted. `main` is the only place that turns errors into messages and codes.
"""

from __future__ import annotations

import gc
import os
import re
import sys
from importlib import import_module
from pathlib import Path

import click
from click.exceptions import NoSuchCommand

from dln.grammar.diagnostics import DlnError, Fault, Problem
from dln.printing.terminal import Terminal, dressed
from dln.usage.twice import refuse_twice

LATER = ("derive", "step", "fmt", "lint", "doc")
"""Planned commands: their names are taken, and answered in one line."""

FOLDER = Path(__file__).with_name("commands")
PURPOSE = re.compile(r'"""(.+?)(?:"""|\n)')
"""The first line of a command's file, which is what the command does."""

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Commands(click.Group):
    """A command for each file in or below `commands/` that has a `command`; it is imported when it
    is called, and not to be listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, _ in listed()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        if cmd_name in LATER:
            raise click.UsageError(f"dln {cmd_name} is not built yet")
        found = command_of(cmd_name)
        if found is None:
            raise NoSuchCommand(cmd_name, ctx=ctx)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, found, rest = super().resolve_command(ctx, args)
        if found is not None:
            refuse_twice(found, ctx, rest)
        return name, found, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(listed())


def command_of(name: str) -> click.Command | None:
    """The command that a file of that name declares."""
    module = files().get(name)
    below = ".".join(module.relative_to(FOLDER).with_suffix("").parts) if module else ""
    found = module and getattr(import_module(f"dln.commands.{below}"), "command", None)
    return found if isinstance(found, click.Command) else None


def files() -> dict[str, Path]:
    """The files of commands by name; `time_.py` leaves the module of that name its own."""
    return {path.stem.rstrip("_"): path for path in FOLDER.glob("**/*.py")}


def listed() -> list[tuple[str, str]]:
    """Name and purpose of each command, in the order of use, as their files say."""
    found = []
    for name, path in files().items():
        head, mark, rest = path.read_text("utf-8").partition("\nORDER = ")
        if mark and (said := PURPOSE.match(head)):
            found.append((int(rest.partition("\n")[0]), name, said[1]))
    return [(name, purpose) for _, name, purpose in sorted(found)]


@click.group(cls=Commands, invoke_without_command=True, context_settings=CONTEXT)
@click.version_option(package_name="dln", prog_name="dln", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Networks written as equations, compiled and trained.

    A SPEC is a .dln file, or the name of a shipped one.
    """
    if ctx.invoked_subcommand is None:
        from dln.reading.overview import overview  # late: it reads the shipped specs

        ctx.obj.result(overview(listed()))


# ---- the entry point ---------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> None:
    """Run a command and exit with its code. Start-up is short, so nothing is collected in it."""
    words = sys.argv[1:] if argv is None else argv
    gc.disable()
    try:
        code = carried_out(words)
    finally:
        gc.enable()
    sys.exit(code)


def carried_out(words: list[str]) -> int:
    """The exit code of a command; whatever went wrong has been said."""
    terminal = Terminal(json="--json" in words)
    if "--mpi" in words:
        from dln.runtime.ranks.launched import launched  # late: with --mpi alone

        terminal.silent = launched(os.environ).rank > 0
    code = _carried_out(terminal, words)
    return code if terminal.ending is None else terminal.ending(code)


def _carried_out(terminal: Terminal, words: list[str]) -> int:
    try:
        code = cli.main(words, prog_name="dln", standalone_mode=False, obj=terminal)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except DlnError as error:
        terminal.error(error)
        return getattr(error, "exit_code", 2)
    except Fault as fault:  # no place of a spec is to blame
        terminal.error(fault.at(None))
        return 2
    except click.ClickException as error:
        terminal.error(DlnError([misused(error, words)]))
        return 2
    except (KeyboardInterrupt, click.Abort):
        if not terminal.silent:
            print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        remedy = "fewer examples by --limit N, a smaller batch, smaller sizes"
        terminal.error(Fault("this takes more memory than there is", remedy, "E003").at(None))
        return 1
    except OSError as error:
        terminal.error(refused(error).at(None))
        return 2
    except Exception as error:
        return defect(terminal, error)


def misused(error: click.ClickException, words: list[str]) -> Problem:
    """A command line that cannot be carried out, and what it would be."""
    from dln.usage.answers import answer  # late: seldom needed

    known = {name: command for name, _ in listed() if (command := command_of(name))}
    return answer(error, words, known)


def refused(error: OSError) -> Fault:
    """A file that the system does not give, which nobody foresaw."""
    name = str(error.filename or "a file")
    name = name if len(name) <= 60 else f"{name[:60]}..."
    return Fault(f"cannot use {name}: {error.strerror or error}", code="E002")


def defect(terminal: Terminal, error: Exception) -> int:
    """What nobody foresaw: one line, or with DLN_DEBUG the traceback."""
    if os.environ.get("DLN_DEBUG", "0") not in ("", "0"):
        import traceback  # late: seldom needed

        print(dressed("".join(traceback.format_exception(error))), file=sys.stderr)
    message = f"{type(error).__name__}: {error}".split("\n")[0][:200]
    remedy = "set DLN_DEBUG=1 to see where, and report it"
    terminal.error(DlnError([Problem("E999", f"a defect of dln: {message}", remedy=remedy)]))
    return 1
