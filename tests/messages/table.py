"""Prints how well mutants are answered: `python tests/messages/table.py [COUNT] [SEED]`.

Of slices of the shipped specs, or with `--whole` of the specs themselves; `--examples` shows some
of those that point elsewhere, and remedies that do not mend.
"""

import sys

from mutation import corpus, counting


def main(arguments: list[str]) -> None:
    numbers = [int(a) for a in arguments if a.isdigit()]
    count, seed = [*numbers, *(2000, 1)[len(numbers) :]][:2]
    texts = corpus.whole() if "--whole" in arguments else corpus.sliced()
    found = list(counting.run(texts, seed, count))
    refused = [t for t in found if t is not None]
    print(f"{count} mutants, seed {seed}: {len(refused)} refused")
    for by in (lambda t: "all", lambda t: t.edit.operator, lambda t: t.answer.code):
        print(counting.table(refused, by), end="\n\n")
    if "--examples" in arguments:
        print(counting.examples(refused))


if __name__ == "__main__":
    main(sys.argv[1:])
