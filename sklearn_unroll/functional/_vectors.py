"""Steps of compiled loops that are vectors from end to end, which plain loops do not become.

A step is a function that says what it does, in numpy, and what compiled code has in its place:
vectors of LLVM, each in as many of the processor's own as it takes. So sums stay in registers
while rows of a table pass by, where a loop would read and write them for every few rows.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["PANEL", "above", "lowest", "panel_width", "panels", "subtract_rows"]

PANEL = 256  # bytes of a row of a panel: four vectors, of the longest there are


def panel_width(kind: np.dtype) -> int:
    """Return how many columns a panel has."""
    return PANEL // kind.itemsize


def panels(matrix: Tensor) -> Tensor:
    """Return the columns of a matrix in panels, of shape (n_panels, n_rows, width).

    Zeros follow the last column. The rows of a panel are neighbours, and stay in the cache while
    many samples ask for them.
    """
    width = PANEL // matrix.element_size()
    n_rows, n_columns = matrix.shape
    found = matrix.new_zeros(-(-n_columns // width), n_rows, width)
    for panel, part in zip(found, matrix.split(width, 1), strict=False):
        panel[:, : part.shape[1]] = part
    return found


def subtract_rows(source, table, places, values, now, row, size, panel, out):
    """Write a panel of ``source - x table`` of a sample, whose code x is a list of a size."""
    width = table.shape[2]
    columns = slice(panel * width, (panel + 1) * width)
    some = places[now, row, :size]
    out[row, columns] = source[row, columns] - values[now, row, :size] @ table[panel, some]


def above(z, row, first, width, theta):
    """Return which entries are above a threshold, as bits of a word; NaN is."""
    # A difference: infinity above infinity is NaN, as everywhere else.
    high = ~(np.abs(z[row, first : first + width]) - theta <= 0)
    return sum(1 << nth for nth in np.flatnonzero(high).tolist())


def lowest(word):
    """Return the number of the lowest bit of a word that is not zero."""
    return (word & -word).bit_length() - 1


@lru_cache
def _place_subtract_rows() -> None:
    from llvmlite import ir
    from numba import types
    from numba.extending import lower_builtin, type_callable

    @type_callable(subtract_rows)
    def typed(context):
        return lambda source, table, places, values, now, row, size, panel, out: types.none

    @lower_builtin(subtract_rows, *[types.Any] * 9)
    def build(context, builder, signature, given):
        code = _Code(context, builder, signature, given)
        number, count = signature.args[1].dtype, ir.IntType(64)
        width = PANEL // (number.bitwidth // 8)
        of, zero = code.vector(number, width), ir.Constant(count, 0)
        now, row, size, panel = (code.integer(nth) for nth in (4, 5, 6, 7))
        first = builder.mul(panel, ir.Constant(count, width))
        out = code.at(8, [row, first])
        begin, before = code.load(of, code.at(0, [row, first])), builder.block
        head, body, end = (builder.append_basic_block(name) for name in ("head", "body", "end"))
        builder.branch(head)
        builder.position_at_end(head)
        nth, total = builder.phi(count), builder.phi(of)
        nth.add_incoming(zero, before)
        total.add_incoming(begin, before)
        builder.cbranch(builder.icmp_signed("<", nth, size), body, end)
        builder.position_at_end(body)
        place = builder.load(code.at(2, [now, row, nth]))
        value = builder.fneg(builder.load(code.at(3, [now, row, nth])))
        entries = code.load(of, code.at(1, [panel, builder.sext(place, count), zero]))
        product = builder.fmul(code.splat(value, of), entries, flags=["contract"])
        total.add_incoming(builder.fadd(total, product, flags=["contract"]), builder.block)
        nth.add_incoming(builder.add(nth, ir.Constant(count, 1)), builder.block)
        builder.branch(head)
        builder.position_at_end(end)
        code.store(total, out)
        return context.get_dummy_value()


@lru_cache
def _place_above() -> None:
    from llvmlite import ir
    from numba import types
    from numba.extending import lower_builtin, type_callable

    @type_callable(above)
    def typed(context):
        return lambda z, row, first, width, theta: types.int64

    @lower_builtin(above, *[types.Any] * 5)
    def build(context, builder, signature, given):
        code = _Code(context, builder, signature, given)
        number = signature.args[0].dtype
        width = PANEL // (number.bitwidth // 8)
        of = code.vector(number, width)
        zero = ir.Constant(of, [0.0] * width)
        z = code.load(of, code.at(0, [code.integer(1), code.integer(2)]))
        theta = context.cast(builder, given[4], signature.args[4], number)
        size = builder.select(builder.fcmp_ordered("<", z, zero), builder.fneg(z), z)
        high = builder.fcmp_unordered(">", builder.fsub(size, code.splat(theta, of)), zero)
        word = builder.bitcast(high, ir.IntType(width))
        return word if width == 64 else builder.zext(word, ir.IntType(64))


@lru_cache
def _place_lowest() -> None:
    from llvmlite import ir
    from numba import types
    from numba.extending import lower_builtin, type_callable

    @type_callable(lowest)
    def typed(context):
        return lambda word: types.int64

    @lower_builtin(lowest, types.Any)
    def build(context, builder, signature, given):
        return builder.cttz(given[0], ir.Constant(ir.IntType(1), 1))


class _Code:
    """LLVM's code of a step, as it is written.

    Parameters
    ----------
    context, builder, signature, given : object
        Numba's.
    """

    def __init__(self, context: Any, builder: Any, signature: Any, given: Any) -> None:
        self.context, self.builder, self.types, self.given = context, builder, signature.args, given

    def integer(self, nth: int) -> Any:
        """Return an argument as a 64-bit integer."""
        from numba import types

        return self.context.cast(self.builder, self.given[nth], self.types[nth], types.int64)

    def at(self, nth: int, place: list) -> Any:
        """Return the address of an entry of an argument, an array."""
        from numba.core import cgutils

        of = self.types[nth]
        array = self.context.make_array(of)(self.context, self.builder, self.given[nth])
        return cgutils.get_item_pointer(
            self.context, self.builder, of, array, place, wraparound=False
        )

    def vector(self, number: Any, width: int) -> Any:
        """Return the type of vectors."""
        from llvmlite import ir

        return ir.VectorType(self.context.get_value_type(number), width)

    def load(self, of: Any, address: Any) -> Any:
        """Return a vector from an address, aligned as its entries are."""
        found = self.builder.load(self.builder.bitcast(address, of.as_pointer()))
        found.align = 4
        return found

    def store(self, value: Any, address: Any) -> None:
        """Write a vector."""
        self.builder.store(value, self.builder.bitcast(address, value.type.as_pointer())).align = 4

    def splat(self, value: Any, of: Any) -> Any:
        """Return a vector of equal entries."""
        from llvmlite import ir

        number, nothing = ir.IntType(32), ir.Constant(of, ir.Undefined)
        one = self.builder.insert_element(nothing, value, ir.Constant(number, 0))
        places = ir.Constant(ir.VectorType(number, of.count), [0] * of.count)
        return self.builder.shuffle_vector(one, nothing, places)


# What :func:`~sklearn_unroll.functional._compiled.compiled` asks of a step.
subtract_rows.put_in_place = _place_subtract_rows
above.put_in_place = _place_above
lowest.put_in_place = _place_lowest
