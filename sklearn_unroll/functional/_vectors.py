"""Steps of compiled loops that are vectors from end to end, which plain loops do not become.

A step is a function that says what it does, in numpy, and what compiled code has in its place:
vectors of LLVM, each in as many of the processor's own as it takes. So sums stay in registers
while rows of a table pass by, where a loop would read and write them for every few rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from inspect import signature
from typing import Any

import numpy as np
from torch import Tensor

__all__ = [
    "PANEL",
    "above",
    "lowest",
    "panel_width",
    "panels",
    "soften",
    "step_along",
    "subtract_rows",
]

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


def step_along(source, table, places, values, now, row, size, panel, out, gamma):
    """Add gamma times such a panel to ``out``."""
    width = table.shape[2]
    columns = slice(panel * width, (panel + 1) * width)
    some = places[now, row, :size]
    moved = source[row, columns] - values[now, row, :size] @ table[panel, some]
    out[row, columns] += gamma * moved


def above(z, row, first, width, theta):
    """Return which entries are above a threshold, as bits of a word; NaN is."""
    # A difference: infinity above infinity is NaN, as everywhere else.
    high = ~(np.abs(z[row, first : first + width]) - theta <= 0)
    return sum(1 << nth for nth in np.flatnonzero(high).tolist())


def soften(z, row, first, width, theta):
    """Overwrite entries by their soft thresholds, and return which are not zero, as bits."""
    word, part = above(z, row, first, width, theta), z[row, first : first + width]
    high = ~(np.abs(part) - theta <= 0)
    part[:] = np.where(high, part - np.copysign(theta, part), 0)
    return word


def lowest(word):
    """Return the number of the lowest bit of a word that is not zero."""
    return (word & -word).bit_length() - 1


def _in_place(step: Callable, returns: str) -> Callable:
    """Return a decorator for what builds a step, given its :class:`_Code`: numba then takes it."""

    def decorate(build: Callable) -> Callable:
        @lru_cache
        def put() -> None:
            from numba import types
            from numba.extending import lower_builtin, type_callable

            names = signature(step)
            found = getattr(types, returns)

            def typed(context: Any) -> Callable:
                def of(*given: Any) -> Any:
                    return found

                of.__signature__ = names
                return of

            def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
                return build(_Code(context, builder, signature, given))

            type_callable(step)(typed)
            lower_builtin(step, *[types.Any] * len(names.parameters))(emit)

        step.put_in_place = put  # what functional._compiled asks for
        return build

    return decorate


@_in_place(subtract_rows, "none")
def _build_subtract_rows(code: _Code) -> Any:
    out = code.at(8, [code.integer(5), code.first_of_panel()])
    code.store(code.remains(), out)
    return code.nothing()


@_in_place(step_along, "none")
def _build_step_along(code: _Code) -> Any:
    builder, out = code.builder, code.at(8, [code.integer(5), code.first_of_panel()])
    moved = code.remains()
    moved = builder.fmul(code.splat(code.number(9)), moved, flags=["contract"])
    code.store(builder.fadd(code.load(out), moved, flags=["contract"]), out)
    return code.nothing()


@_in_place(above, "int64")
def _build_above(code: _Code) -> Any:
    z = code.load(code.at(0, [code.integer(1), code.integer(2)]))
    return code.bits(code.high(z, code.splat(code.number(4)))[0])


@_in_place(soften, "int64")
def _build_soften(code: _Code) -> Any:
    builder, place = code.builder, code.at(0, [code.integer(1), code.integer(2)])
    z = code.load(place)
    theta = code.splat(code.number(4))
    high, negative = code.high(z, theta)
    shrunk = builder.fsub(z, builder.select(negative, builder.fneg(theta), theta))
    code.store(builder.select(high, shrunk, code.zero), place)
    return code.bits(high)


@_in_place(lowest, "int64")
def _build_lowest(code: _Code) -> Any:
    return code.builder.cttz(code.given[0], code.false)


class _Code:
    """LLVM's code of a step, as it is written: a vector is as long as a row of a panel.

    Parameters
    ----------
    context, builder, signature, given : object
        Numba's.
    """

    def __init__(self, context: Any, builder: Any, signature: Any, given: Any) -> None:
        from llvmlite import ir

        self.context, self.builder, self.types, self.given = (
            context,
            builder,
            signature.args,
            given,
        )
        self.ir, self.count, self.false = ir, ir.IntType(64), ir.Constant(ir.IntType(1), 0)
        numbers = getattr(self.types[0], "dtype", None)
        if numbers is not None:
            self.kind, self.width = numbers, PANEL // (numbers.bitwidth // 8)
            self.vector = ir.VectorType(context.get_value_type(numbers), self.width)
            self.zero = ir.Constant(self.vector, [0.0] * self.width)

    def nothing(self) -> Any:
        """Return None."""
        return self.context.get_dummy_value()

    def cast(self, nth: int, to: Any) -> Any:
        """Return an argument as of another type."""
        return self.context.cast(self.builder, self.given[nth], self.types[nth], to)

    def integer(self, nth: int) -> Any:
        """Return an argument as a 64-bit integer."""
        from numba import types

        return self.cast(nth, types.int64)

    def number(self, nth: int) -> Any:
        """Return an argument as an entry of a vector."""
        return self.cast(nth, self.kind)

    def at(self, nth: int, place: list) -> Any:
        """Return the address of an entry of an argument, an array."""
        from numba.core import cgutils

        of, context, builder = self.types[nth], self.context, self.builder
        array = context.make_array(of)(context, builder, self.given[nth])
        return cgutils.get_item_pointer(context, builder, of, array, place, wraparound=False)

    def load(self, address: Any) -> Any:
        """Return a vector, aligned as its entries are."""
        found = self.builder.load(self.builder.bitcast(address, self.vector.as_pointer()))
        found.align = self.kind.bitwidth // 8
        return found

    def store(self, value: Any, address: Any) -> None:
        """Write a vector."""
        address = self.builder.bitcast(address, self.vector.as_pointer())
        self.builder.store(value, address).align = self.kind.bitwidth // 8

    def splat(self, value: Any) -> Any:
        """Return a vector of equal entries."""
        ir, of = self.ir, self.vector
        number, nothing = ir.IntType(32), ir.Constant(of, ir.Undefined)
        one = self.builder.insert_element(nothing, value, ir.Constant(number, 0))
        places = ir.Constant(ir.VectorType(number, of.count), [0] * of.count)
        return self.builder.shuffle_vector(one, nothing, places)

    def high(self, z: Any, theta: Any) -> tuple[Any, Any]:
        """Return which entries of a vector are above a threshold, and which are negative."""
        builder = self.builder
        negative = builder.fcmp_ordered("<", z, self.zero)
        size = builder.select(negative, builder.fneg(z), z)
        return builder.fcmp_unordered(">", builder.fsub(size, theta), self.zero), negative

    def bits(self, high: Any) -> Any:
        """Return truth values as an integer."""
        word = self.builder.bitcast(high, self.ir.IntType(self.width))
        return word if self.width == 64 else self.builder.zext(word, self.count)

    def first_of_panel(self) -> Any:
        """Return the first column of the panel that :func:`subtract_rows` is given."""
        return self.builder.mul(self.integer(7), self.ir.Constant(self.count, self.width))

    def remains(self) -> Any:
        """Return the panel that :func:`subtract_rows` writes, computed in a loop over a code."""
        ir, builder, count = self.ir, self.builder, self.count
        now, row, size, panel = (self.integer(nth) for nth in (4, 5, 6, 7))
        zero, begin = ir.Constant(count, 0), self.load(self.at(0, [row, self.first_of_panel()]))
        before = builder.block
        head, body, end = (builder.append_basic_block(name) for name in ("head", "body", "end"))
        builder.branch(head)
        builder.position_at_end(head)
        nth, total = builder.phi(count), builder.phi(self.vector)
        nth.add_incoming(zero, before)
        total.add_incoming(begin, before)
        builder.cbranch(builder.icmp_signed("<", nth, size), body, end)
        builder.position_at_end(body)
        place = builder.zext(builder.load(self.at(2, [now, row, nth])), count)
        value = builder.fneg(builder.load(self.at(3, [now, row, nth])))
        entries = self.load(self.at(1, [panel, place, zero]))
        product = builder.fmul(self.splat(value), entries, flags=["contract"])
        total.add_incoming(builder.fadd(total, product, flags=["contract"]), builder.block)
        nth.add_incoming(builder.add(nth, ir.Constant(count, 1)), builder.block)
        builder.branch(head)
        builder.position_at_end(end)
        return total
