"""Texts and files that nobody wrote: drawn from the grammar, and grown by what they reach.

`sentences` derives texts from the rules of the grammar; `growing` is a loop of mutation that keeps
whatever reaches a line that nothing before it has reached.
"""
