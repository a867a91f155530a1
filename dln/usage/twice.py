"""Options of which only one can hold: one given twice, or two that say different things."""

from __future__ import annotations

import click


class Twice(click.UsageError):
    """Two of `options`, the words of which each would take the place of the other."""

    def __init__(self, first: click.Option, second: click.Option) -> None:
        self.options = (*first.opts, *(second.opts if second is not first else ()))
        one, other = first.opts[-1], second.opts[-1]
        both = f"{one} is given twice" if one == other else f"{one} and {other} exclude each other"
        super().__init__(both)


def refuse_twice(command: click.Command, ctx: click.Context, words: list[str]) -> None:
    """Raise `Twice` where a later option would silently take the place of an earlier one; the same
    switch twice is one."""
    alone = click.Context(command, parent=ctx, resilient_parsing=True)
    _, _, order = command.make_parser(alone).parse_args(list(words))
    seen: dict[str | None, click.Option] = {}
    for option in order:
        if isinstance(option, click.Option) and not option.multiple:
            first = seen.get(option.name)
            if first is not None and not (first is option and option.is_flag):
                raise Twice(first, option)
            seen[option.name] = option
