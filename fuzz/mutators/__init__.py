"""Mutations: of bytes, and of what files are made of."""

from collections.abc import Callable
from random import Random

from fuzz.case import Files, Mutation


def of_one(change: Callable[[bytes, Random], bytes], *suffixes: str) -> Mutation:
    """Return the mutation that changes one file, of those with one of some suffixes if any are named.

    What cannot be parsed, as an earlier mutation has damaged it, stays as it is.
    """

    def mutation(files: Files, random: Random) -> Files:
        names = [name for name in sorted(files) if not suffixes or name.endswith(suffixes)]
        if not names:
            return files
        name = random.choice(names)
        try:
            return {**files, name: change(files[name], random)}
        except Exception:  # what has been damaged before can be too damaged for a parser
            return files

    return mutation
