"""Names that no two layers share."""


def unique_name(name: str, counts: dict[str, int]) -> str:
    """Return a name, with a number behind it where it has been given before, and note it.

    >>> counts: dict[str, int] = {}
    >>> [unique_name(name, counts) for name in ("dw", "dw", "dw_2", "dw")]
    ['dw', 'dw_2', 'dw_2_2', 'dw_3']
    """
    unique = name
    while unique in counts:
        counts[name] += 1
        unique = f"{name}_{counts[name]}"
    counts[unique] = 1
    return unique
