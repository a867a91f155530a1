"""The commands: what the command line asks for, handed to the module that does it.

Exit codes: 0 done; 1 a check failed or the run failed; 2 wrong usage or a wrong spec;
130 interrupted. `main` is the only place that turns errors into messages and codes. Everything
but click is imported by the command that needs it.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from dln.commands.options import (
    Settings,
    device_options,
    jobs_option,
    output_options,
    settings_of,
    spec_options,
    target_options,
    training_options,
)
from dln.flags import read_flags
from dln.grammar.diagnostics import DlnError, Fault, Problem
from dln.printing.terminal import Terminal

if TYPE_CHECKING:
    from dln.spec import Compiled, Spec

LATER = ("derive", "step", "emit", "import", "fmt", "lint", "doc", "verify")
"""Planned commands: their names are taken, and answered in one line."""

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Commands(click.Group):
    """The commands in the order of this file; planned ones answer that they are not built yet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in LATER:
            raise click.UsageError(f"dln {cmd_name} is not built yet")
        return super().get_command(ctx, cmd_name)


@click.group(cls=Commands, invoke_without_command=True, context_settings=CONTEXT)
@click.version_option(package_name="dln", prog_name="dln", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Networks written as equations, compiled and trained.

    A SPEC is a .dln file, or the name of a shipped one.
    """
    if ctx.invoked_subcommand is None:
        from dln.printing.overview import overview

        ctx.obj.result(overview(cli))


# ---- looking -----------------------------------------------------------------------------------


@cli.command()
@click.argument("spec")
@spec_options
@output_options
@click.pass_obj
def check(terminal: Terminal, /, spec: str, **given: Any) -> int:
    """Read a spec and test what needs no training."""
    from dln.commands.show import check

    return check(terminal, loaded(spec, settings(terminal, given), functions=False))


@cli.command()
@click.argument("spec")
@click.option("--graph", "form", flag_value="graph", help="The graph as text.")
@click.option("--dot", "form", flag_value="dot", help="The graph for Graphviz.")
@click.option("--mermaid", "form", flag_value="mermaid", help="The graph for Mermaid.")
@spec_options
@output_options
@click.pass_obj
def show(terminal: Terminal, /, spec: str, form: str | None, **given: Any) -> int:
    """Print a spec with every default written out and every size."""
    from dln.commands.show import draw, show

    found = loaded(spec, settings(terminal, given))
    return draw(terminal, found, form) if form else show(terminal, found)


@cli.command()
@click.argument("spec")
@click.option("--program", metavar="NAME", help="Only this program, for instance step:sse.")
@target_options
@spec_options
@output_options
@click.pass_obj
def plan(terminal: Terminal, /, spec: str, program: str | None, **given: Any) -> int:
    """Print the programs, their buffers, memory and arithmetic."""
    from dln.commands.plan import plan

    return plan(terminal, compiled(terminal, spec, settings(terminal, given)), program)


@cli.command()
@click.argument("spec")
@click.option("--pass", "only", metavar="NAME", help="Only this pass, for instance stabilise.")
@click.option("--program", metavar="NAME", help="Only this program, for instance step:sse.")
@target_options
@spec_options
@output_options
@click.pass_obj
def explain(
    terminal: Terminal, /, spec: str, only: str | None, program: str | None, **given: Any
) -> int:
    """Print what each pass rewrote: rule, place, before, after."""
    from dln.commands.plan import explain

    return explain(terminal, compiled(terminal, spec, settings(terminal, given)), only, program)


# ---- running -----------------------------------------------------------------------------------


@cli.command()
@click.argument("spec", required=False)
@click.option("--phase", metavar="NAME", help="Only this phase, and those that it comes after.")
@click.option("--out", metavar="DIR", help="The run directory [runs/SPEC-N].")
@click.option(
    "--resume", metavar="[DIR]", is_flag=False, flag_value="", default=None,
    help="Go on with an interrupted run: of DIR, or the newest of the spec.",
)  # fmt: skip
@training_options
@device_options
@target_options
@spec_options
@output_options
@click.pass_obj
def run(terminal: Terminal, /, spec: str | None, **given: Any) -> int:
    """Train the phases, run the tasks, test the checks."""
    from dln.running.run import run

    gc.enable()
    return run(terminal, spec, settings(terminal, given), flags().debug)


@cli.command()
@click.argument("spec")
@click.argument("name", required=False)
@click.option("--out", metavar="DIR", help="The sweep's directory [runs/SPEC-sweep-N].")
@click.option("--resume", metavar="DIR", help="Go on with the sweep that DIR holds.")
@jobs_option
@training_options
@device_options
@target_options
@spec_options
@output_options
@click.pass_obj
def sweep(terminal: Terminal, /, spec: str, name: str | None, **given: Any) -> int:
    """Run a spec for every combination of what a sweep varies."""
    from dln.sweep.grid import sweep

    gc.enable()
    return sweep(terminal, spec, name, settings(terminal, given))


@cli.command()
@click.argument("run_dir", metavar="RUN")
@click.argument("name")
@click.option("--out", metavar="DIR", help="Where files go [the run directory].")
@spec_options
@output_options
@click.pass_obj
def task(terminal: Terminal, /, run_dir: str, name: str, **given: Any) -> int:
    """Repeat a task on the run directory of a finished run."""
    from dln.running.tasks import repeat

    return repeat(terminal, run_dir, name, settings(terminal, given))


@cli.command()
@click.argument("spec")
@click.option("--phase", metavar="NAME", help="Only this phase.")
@device_options
@target_options
@spec_options
@output_options
@click.pass_obj
def time(terminal: Terminal, /, spec: str, **given: Any) -> int:
    """Time a step of each phase, line by line of the spec."""
    from dln.commands.measure import time

    found = settings(terminal, given)
    return time(terminal, compiled(terminal, spec, found), found)


@cli.command()
@click.argument("spec")
@click.option("--phase", metavar="NAME", help="Only this phase.")
@device_options
@spec_options
@output_options
@click.pass_obj
def gradcheck(terminal: Terminal, /, spec: str, **given: Any) -> int:
    """Compare each gradient with differences of the loss."""
    from dln.commands.measure import gradcheck

    found = settings(terminal, {**given, "dtype": "float64"})
    return gradcheck(terminal, compiled(terminal, spec, found), found)


@cli.command()
@click.argument("specs", nargs=-1, metavar="[SPEC]...")
@click.option("--slow", is_flag=True, help="The full recipes, and the sweeps.")
@click.option("--svm", is_flag=True, help="The support vector machine of the comparison.")
@click.option("--table", is_flag=True, help="Run nothing: only write the table anew.")
@click.option("--take", metavar="DIR", multiple=True, help="Take the figures of a finished run.")
@click.option("--to", metavar="FILE", default="docs/results.md", help="[docs/results.md]")
@click.option("--specs", "folder", metavar="DIR", help="The specs of a folder [those shipped].")
@jobs_option
@device_options
@target_options
@output_options
@click.pass_obj
def results(terminal: Terminal, /, specs: tuple[str, ...], **given: Any) -> int:
    """Run the recipes of the specs, and write the table of results."""
    from dln.results.recipes import Wanted, results

    wanted = Wanted(
        specs, given["folder"], given["to"], given["table"], given["svm"], given["take"]
    )
    return results(terminal, wanted, settings(terminal, given))


# ---- what the commands share -------------------------------------------------------------------


def flags() -> Any:
    try:
        return read_flags()
    except Fault as fault:
        raise fault.at(None) from None


def settings(terminal: Terminal, given: dict[str, Any]) -> Settings:
    """The settings of a command; `--json` and `--quiet` go to the terminal."""
    terminal.json, terminal.quiet = given["json"], given["quiet"]
    return settings_of(given, flags().target)


def loaded(name: str, given: Settings, functions: bool = True) -> Spec:
    """The spec of a command, with its constants and data paths."""
    from dln.spec import find, from_source, read

    path = find(name)
    return from_source(read(path), path.stem, given.constants, given.data, functions)


def compiled(terminal: Terminal, name: str, given: Settings) -> Compiled:
    """The spec of a command, compiled for the backend asked for."""
    found = loaded(name, given).compile(given.backend, given.dtype, given.threads)
    if flags().debug >= 2 or flags().verify:
        from dln.printing.tracing import trace

        trace(terminal, found, flags())
    return found


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
    try:
        code = cli.main(words, prog_name="dln", standalone_mode=False, obj=terminal)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except DlnError as error:
        terminal.error(error)
        return getattr(error, "exit_code", 2)
    except click.ClickException as error:
        terminal.data({"problems": [Problem("E001", error.format_message()).as_data()]})
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return defect(terminal, error)


def defect(terminal: Terminal, error: Exception) -> int:
    """What nobody foresaw: one line, or with DLN_DEBUG the traceback."""
    if os.environ.get("DLN_DEBUG", "0") not in ("", "0"):
        import traceback

        traceback.print_exception(error)
    message = f"{type(error).__name__}: {error}".split("\n")[0][:200]
    remedy = "set DLN_DEBUG=1 to see where, and report it"
    terminal.error(DlnError([Problem("E999", f"a defect of dln: {message}", remedy=remedy)]))
    return 1
