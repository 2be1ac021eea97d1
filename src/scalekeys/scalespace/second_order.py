r"""Functions of a few parameters with their first and second derivatives, as tables of numbers.

A table has a first axis of length ``1 + p + p (p + 1) / 2`` for p parameters: the value, the p slopes, and the second
derivatives of the pairs :math:`i \le j` in the order 11, 12, .., 1p, 22, .. . Products and compositions of tables
follow the rules of Leibniz and of the chain. The other axes are free, and broadcast.
"""

from collections.abc import Sequence
from functools import lru_cache, reduce

import torch
from torch import Tensor


@lru_cache(maxsize=16)
def pairs(parameters: int) -> tuple[tuple[int, int], ...]:
    """Return the pairs of parameters whose second derivatives a table holds, in order.

    >>> pairs(2)
    ((0, 0), (0, 1), (1, 1))
    """
    return tuple((i, j) for i in range(parameters) for j in range(i, parameters))


def entries(parameters: int) -> int:
    """Return the length of a table.

    >>> entries(2)
    6
    """
    return 1 + parameters + len(pairs(parameters))


def product(a: Tensor, b: Tensor, parameters: int) -> Tensor:
    """Return the table of the product of two functions of the same parameters."""
    first_a, first_b = a[1 : parameters + 1], b[1 : parameters + 1]
    rows = [a[0] * b[0], *(first_a[i] * b[0] + a[0] * first_b[i] for i in range(parameters))]
    for place, (i, j) in enumerate(pairs(parameters), parameters + 1):
        crossed = 2 * first_a[i] * first_b[i] if i == j else first_a[i] * first_b[j] + first_a[j] * first_b[i]
        rows.append(a[place] * b[0] + crossed + a[0] * b[place])
    return torch.stack(rows)


def composed(inner: Tensor, value: Tensor, slope: Tensor, bend: Tensor, parameters: int) -> Tensor:
    """Return the table of ``f(g)``, given that of g, and f, f' and f'' at g."""
    first = inner[1 : parameters + 1]
    rows = [value, *(slope * first[i] for i in range(parameters))]
    for place, (i, j) in enumerate(pairs(parameters), parameters + 1):
        rows.append(slope * inner[place] + bend * first[i] * first[j])
    return torch.stack(rows)


def chained(table: Tensor, arguments: Sequence[Tensor], parameters: int) -> Tensor:
    """Return the table of ``f(g1, .., gk)``, given that of f in k arguments, and that of each argument."""
    count = len(arguments)
    first, second = (torch.tensor(one, device=table.device) for one in zip(*pairs(parameters), strict=True))
    blank = (None,) * (table.ndim - arguments[0].ndim)
    own = torch.stack(list(arguments), dim=1)[(slice(None), slice(None), *blank)]  # (entries, k, ...)
    slopes = own[1 : parameters + 1]
    _, gradient, hessian = split(table, count)
    bent = (hessian * slopes[:, :, None]).sum(1)  # by each parameter, of the slope in each argument
    return torch.cat(
        [
            table[:1],
            (gradient * slopes).sum(1),
            (bent[second] * slopes[first]).sum(1) + (gradient * own[parameters + 1 :]).sum(1),
        ]
    )


def outer(functions: Sequence[Tensor]) -> Tensor:
    """Return the table of the product of functions of one parameter each, given with two derivatives: (3, ...)."""
    if len(functions) == 1:
        return functions[0]
    if len(functions) == 2:
        x, y = functions
        return torch.stack([x[0] * y[0], x[1] * y[0], x[0] * y[1], x[2] * y[0], x[1] * y[1], x[0] * y[2]])
    x, y, z = functions
    both = outer([x, y])
    rows = [*(both[:3] * z[0]), both[0] * z[1]]
    return torch.stack(
        [*rows, both[3] * z[0], both[4] * z[0], both[1] * z[1], both[5] * z[0], both[2] * z[1], both[0] * z[2]]
    )


def tied(table: Tensor, groups: tuple[int, ...]) -> Tensor:
    """Let arguments share a parameter: turn derivatives in each argument into those in the parameters.

    `table`: shape (entries, ...); of a function of ``len(groups)`` arguments.
    `groups`: the parameter of each argument, numbered from 0.
    """
    count = len(groups)
    if groups == tuple(range(count)):
        return table
    parameters = max(groups) + 1
    slopes = [[table[1 + i] for i in range(count) if groups[i] == k] for k in range(parameters)]
    rows = [table[0], *map(total, slopes)]
    place = {pair: 1 + count + at for at, pair in enumerate(pairs(count))}
    for k, m in pairs(parameters):
        mixed = [(i, j) for i in range(count) for j in range(count) if (groups[i], groups[j]) == (k, m)]
        rows.append(total([table[place[min(pair), max(pair)]] for pair in mixed]))
    return torch.stack(rows)


def lifted(table: Tensor, parameters: int) -> Tensor:
    """Return the table of a function of one parameter, (3, ...), as one of the first of several parameters."""
    out = table.new_zeros(entries(parameters), *table.shape[1:])
    out[0], out[1], out[1 + parameters] = table[0], table[1], table[2]
    return out


def split(table: Tensor, parameters: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return value (...), gradient (p, ...) and symmetric Hessian (p, p, ...)."""
    hessian = table.new_empty(parameters, parameters, *table.shape[1:])
    for place, (i, j) in enumerate(pairs(parameters), parameters + 1):
        hessian[i, j] = hessian[j, i] = table[place]
    return table[0], table[1 : parameters + 1], hessian


def total(tables: Sequence[Tensor]) -> Tensor:
    """Return the sum of some tables."""
    return reduce(torch.add, tables)
