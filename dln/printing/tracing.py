"""What DLN_DEBUG and DLN_VERIFY ask for: a look at the graph after each stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dln.flags import Flags
from dln.printing.terminal import Terminal, plural
from dln.spec import Compiled

if TYPE_CHECKING:
    from dln.compiler.ir.graph import Graph
    from dln.compiler.passes.rewriting import Log


def trace(terminal: Terminal, compiled: Compiled, flags: Flags) -> None:
    """Take every program through the column, and say or verify what each stage leaves."""
    from dln.compiler.pipeline import recipes  # late: seldom asked for
    from dln.compiler.stages import optimise, part  # late: seldom asked for

    model = compiled.spec.model
    for key, recipe in recipes(model).items():
        optimise(part(model, recipe.outputs), seen=look(terminal, str(key), flags))
        if flags.debug >= 4:
            terminal.say(compiled.plan.programs[key].text)


def look(terminal: Terminal, name: str, flags: Flags) -> Callable[[str, Graph, Graph, Log], None]:
    """What is shown each stage of one program."""
    reached = "infer"

    def seen(stage: str, before: Graph, after: Graph, log: Log) -> None:
        nonlocal reached
        reached = stage if stage == "differentiate" else reached
        if flags.verify:
            from dln.compiler.ir.verify import verify  # late: seldom asked for
            from dln.compiler.passes.rewriting import must_end  # late: seldom asked for

            verify(after, reached)
            must_end(log)
        if flags.debug >= 2:
            sizes = f"{before.nx.number_of_nodes()} to {after.nx.number_of_nodes()} nodes"
            terminal.say(f"debug: {name}: {stage}: {sizes}, {plural(len(log), 'rewrite')}")
        if flags.debug >= 3:
            from dln.compiler.show import graph_text  # late: seldom asked for

            terminal.say(graph_text(after))

    return seen
