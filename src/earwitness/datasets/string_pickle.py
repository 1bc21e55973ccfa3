"""A parser for pickles of strings, lists, dicts and NumPy arrays of strings.

Conventions: only the opcodes that NumPy writes are interpreted; nothing is imported or called, and
NumPy's ``__setstate__``, which trusts its input, is not used. An array becomes a tuple of its items
in C order. The size of the file bounds memory.
"""

from __future__ import annotations

import math
import pickletools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np


class PickleContentError(ValueError):
    """The pickle contains anything else."""


class _Name(NamedTuple):
    """A module's attribute that the pickle names; it is not imported."""

    module: str
    attribute: str


@dataclass
class _Dtype:
    """A dtype of kind ``U``, ``S`` or ``O``, with its width in characters and byte order."""

    kind: str
    width: int
    order: str = "<"

    @property
    def item_bytes(self) -> int:
        """Bytes of one item of a string dtype."""
        return self.width * (4 if self.kind == "U" else 1)


@dataclass
class _Array:
    """An array, whose items are set by its state."""

    items: tuple[Any, ...] | None = None
    is_scalar: bool = False


@dataclass
class _Machine:
    """The unpickling machine: stack, positions of marks, memo, and bytes that may be copied."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    budget: int = 0

    def spend(self, parts: tuple[Any, ...]) -> None:
        """Count copied bytes, to bound what a small file can expand to."""
        self.budget -= sum(len(p) for p in parts if isinstance(p, str | bytes | bytearray | list))
        if self.budget < 0:
            raise PickleContentError("it copies more than it holds")

    def pop(self) -> Any:
        """Pop the topmost item."""
        return self.take(1)[0]

    def take(self, n: int) -> list[Any]:
        """Pop the topmost ``n`` items, in order."""
        if len(self.stack) - (self.marks[-1] if self.marks else 0) < n:
            raise PickleContentError("it is damaged (its stack runs empty)")
        taken = self.stack[len(self.stack) - n :]
        del self.stack[len(self.stack) - n :]
        return taken

    def since_mark(self) -> list[Any]:
        """Pop all items since the last mark."""
        if not self.marks:
            raise PickleContentError("it is damaged (a mark is missing)")
        at = self.marks[-1]
        taken = self.take(len(self.stack) - at)
        self.marks.pop()
        return taken

    def top(self, kind: type) -> Any:
        """Return the topmost item, which must be of type ``kind``, without popping it."""
        (item,) = self.take(1)
        if not isinstance(item, kind):
            raise PickleContentError(f"it adds to a {type(item).__name__}")
        self.stack.append(item)
        return item


def read_pickle(content: bytes) -> Any:
    """Return the content of a pickle of protocol 2 to 5, with arrays as tuples.

    Raises:
        PickleContentError: It contains anything but arrays of strings and built-in containers.
        ValueError: It is no pickle.
    """
    machine = _Machine(budget=4 * len(content))  # NumPy's own pickles copy each byte at most twice
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name == "STOP":
            return _finish(machine.pop())
        step = _STEPS.get(opcode.name)
        if step is None:
            raise PickleContentError(f"it has the opcode {opcode.name}, which is not supported")
        step(machine, argument)
    raise PickleContentError("it does not end")


def _finish(value: Any) -> Any:
    if isinstance(value, _Array):
        if value.items is None:
            raise PickleContentError("it holds an array without items")
        return value.items
    if isinstance(value, _Name | _Dtype):
        raise PickleContentError(f"it holds a {type(value).__name__.strip('_').lower()}")
    return value


def _push(machine: _Machine, value: Any) -> None:
    machine.stack.append(value)


def _push_new(make: Callable[[], Any]) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.stack.append(make())


def _tuple(n: int) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.stack.append(tuple(machine.take(n)))


def _append(machine: _Machine, items: list[Any]) -> None:
    machine.top(list).extend(map(_finish, items))


def _set(machine: _Machine, items: list[Any]) -> None:
    target = machine.top(dict)
    keys, values = map(_finish, items[::2]), map(_finish, items[1::2])
    for key, value in zip(keys, values, strict=True):
        if not isinstance(key, str):
            raise PickleContentError(f"it has a key that is a {type(key).__name__}")
        target[key] = value


def _global(machine: _Machine, argument: str) -> None:
    _name(machine, *argument.split(" ", 1))


def _name(machine: _Machine, module: str, attribute: str) -> None:
    name = _Name(str(module), str(attribute))
    if name not in _CALLS and name != ("numpy", "ndarray"):
        raise PickleContentError(f"it names {module}.{attribute}, which is not supported")
    machine.stack.append(name)


def _memoize(machine: _Machine, key: int | None) -> None:
    (item,) = machine.take(1)
    machine.memo[len(machine.memo) if key is None else key] = item
    machine.stack.append(item)


def _recall(machine: _Machine, key: int) -> None:
    if key not in machine.memo:
        raise PickleContentError("it is damaged (a value is used before it is defined)")
    machine.stack.append(machine.memo[key])


def _reduce(machine: _Machine, _: Any) -> None:
    name, arguments = machine.take(2)
    call = _CALLS.get(name) if isinstance(name, _Name) else None
    if call is None or not isinstance(arguments, tuple):
        raise PickleContentError("it calls something that is no function")
    machine.spend(arguments)
    try:
        machine.stack.append(call(*arguments))
    except TypeError as error:
        raise PickleContentError(f"it calls {name.attribute} with other arguments") from error


def _build(machine: _Machine, _: Any) -> None:
    target, state = machine.take(2)
    if not isinstance(state, tuple):
        raise PickleContentError("it has a state that is no tuple")
    machine.spend(state)
    if isinstance(target, _Dtype):
        _set_dtype(target, state)
    elif isinstance(target, _Array) and target.items is None and not target.is_scalar:
        shape, dtype, is_fortran, data = _numpy_state(state)
        target.items = _items(shape, dtype, data, is_fortran=is_fortran)
    else:
        raise PickleContentError(f"it gives a state to a {type(target).__name__}")
    machine.stack.append(target)


def _numpy_state(state: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return shape, dtype, order and data of an array's state, with or without its version."""
    plain = state[1:] if len(state) == 5 and state[0] == 1 else state
    if len(plain) != 4 or not isinstance(plain[2], bool | int):
        raise PickleContentError("it has an array with an unusual state")
    return plain


def _set_dtype(dtype: _Dtype, state: tuple[Any, ...]) -> None:
    """Set the byte order from a dtype's state; the rest of the state must be NumPy's default."""
    item_bytes = -1 if dtype.kind in "Of" else dtype.item_bytes
    unusual = len(state) not in (8, 9) or state[0] not in (3, 4) or state[5] != item_bytes
    if unusual or any(part is not None for part in (*state[2:5], *state[8:])):
        raise PickleContentError("it has a dtype with an unusual state")
    if state[1] not in ("<", ">", "|", "="):
        raise PickleContentError(f"it has a dtype of byte order {state[1]!r}")
    dtype.order = ">" if state[1] == ">" else "<"


def _dtype(text: Any, *_: Any) -> _Dtype:
    pattern = r"[<>=|]?([USOf])([1-9][0-9]{0,6})?"
    match = re.fullmatch(pattern, text) if isinstance(text, str) else None
    if match is None or (match[1] != "O" and match[2] is None):
        raise PickleContentError(f"it has an array of {str(text)[:20]!r}, expected strings")
    return _Dtype(match[1], int(match[2] or 0), ">" if text.startswith(">") else "<")


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    if kind != ("numpy", "ndarray") or shape not in ((0,), ()) or code not in (b"b", "b"):
        raise PickleContentError("it has an array of an unusual kind")
    return _Array()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    return _Array(_items(shape, dtype, data, is_fortran=order == "F"))


def _scalar(dtype: Any, data: Any) -> str:
    text: str = _items((), dtype, data, is_fortran=False)[0]
    return text


def _encode(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise PickleContentError("it has bytes in an unusual encoding")
    return text.encode("latin1")


def _items(shape: Any, dtype: Any, data: Any, *, is_fortran: bool) -> tuple[Any, ...]:
    """Return an array's items in C order."""
    axes = shape if isinstance(shape, tuple) and len(shape) <= 32 else None
    if axes is None or any(type(n) is not int or n < 0 for n in axes):
        raise PickleContentError("it has an array with an unusual shape")
    if not isinstance(dtype, _Dtype):
        raise PickleContentError("it has an array without a dtype")
    if dtype.kind == "f":
        items: tuple[Any, ...] = _no_numbers(data)
    else:
        items = _objects(data) if dtype.kind == "O" else _strings(dtype, data)
    if math.prod(axes) != len(items):
        raise PickleContentError(f"it has an array of shape {axes} with {len(items)} items")
    if is_fortran and len(axes) > 1:
        order = np.arange(len(items)).reshape(axes, order="F").ravel()
        items = tuple(items[at] for at in order)
    return items


def _no_numbers(data: Any) -> tuple[Any, ...]:
    """Return no items: NumPy writes an empty list of names as an array of numbers."""
    if data not in (b"", ""):
        raise PickleContentError("it has an array of numbers, expected strings")
    return ()


def _objects(data: Any) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise PickleContentError("it has an array of objects without a list of them")
    return tuple(data)


def _strings(dtype: _Dtype, data: Any) -> tuple[str, ...]:
    """Return the fixed-width strings in ``data`` without trailing zeros."""
    if isinstance(data, str):  # bytes as Python 2 pickled them
        data = data.encode("latin1")
    if not isinstance(data, bytes | bytearray) or len(data) % dtype.item_bytes:
        raise PickleContentError("it has an array whose bytes do not fit its dtype")
    if dtype.kind == "S":
        parts = range(0, len(data), dtype.width)
        return tuple(data[at : at + dtype.width].rstrip(b"\0").decode() for at in parts)
    text = data.decode("utf-32-le" if dtype.order == "<" else "utf-32-be")
    parts = range(0, len(text), dtype.width)
    return tuple(text[at : at + dtype.width].rstrip("\0") for at in parts)


_CORE = ("numpy.core", "numpy._core")
_CALLS: Mapping[Any, Callable[..., Any]] = {
    **{_Name(f"{core}.multiarray", "_reconstruct"): _reconstruct for core in _CORE},
    **{_Name(f"{core}.multiarray", "scalar"): _scalar for core in _CORE},
    **{_Name(f"{core}.numeric", "_frombuffer"): _from_buffer for core in _CORE},
    _Name("numpy", "dtype"): _dtype,
    _Name("_codecs", "encode"): _encode,
    **{_Name(module, "bytes"): lambda: b"" for module in ("builtins", "__builtin__")},
}

_VALUES = (
    *("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8", "SHORT_BINSTRING", "BINSTRING"),
)

_STEPS: Mapping[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(_VALUES, _push),
    **dict.fromkeys(("PROTO", "FRAME"), lambda *_: None),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), _memoize),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _recall),
    "NONE": _push_new(lambda: None),
    "NEWTRUE": _push_new(lambda: True),
    "NEWFALSE": _push_new(bool),
    "EMPTY_TUPLE": _push_new(tuple),
    "EMPTY_LIST": _push_new(list),
    "EMPTY_DICT": _push_new(dict),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "TUPLE": lambda machine, _: _push(machine, tuple(machine.since_mark())),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "APPEND": lambda machine, _: _append(machine, machine.take(1)),
    "APPENDS": lambda machine, _: _append(machine, machine.since_mark()),
    "SETITEM": lambda machine, _: _set(machine, machine.take(2)),
    "SETITEMS": lambda machine, _: _set(machine, machine.since_mark()),
    "GLOBAL": _global,
    "STACK_GLOBAL": lambda machine, _: _name(machine, *machine.take(2)),
    "REDUCE": _reduce,
    "BUILD": _build,
}
