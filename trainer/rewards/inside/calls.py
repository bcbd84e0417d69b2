"""Two processes that call each other's functions: one holds a model's code, the other the tests of it.

Only data crosses: None, numbers, text, bytes, lists, tuples, sets, dicts and built-in types, as copies; an instance of
a subclass crosses as what it derives from. Anything else stays where it is and is a `Remote` on the other side. So what
the tests compare is theirs: no `__eq__` of the code's is ever asked.

The code's side does whatever the tests' side asks. The tests' side calls the functions that it gave, and does no more:
through an attribute of a function or a generator the code would reach the tests themselves.
"""

import builtins
import json
import os
import sys

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LONGEST = 2**24  # characters of a message
# What one side may do with an object of the other. Comparisons, `in` and `with` are not among it: by them the code
# could decide what a test says.
DEEDS: "dict[str, Callable[..., Any]]" = {
    "__getattribute__": getattr,
    "__setattr__": setattr,
    "__getitem__": lambda thing, key: thing[key],
    "__setitem__": lambda thing, key, value: thing.__setitem__(key, value),
    "__len__": len,
    "__iter__": iter,
    "__next__": next,
    "__bool__": bool,
    "__str__": str,
    "__repr__": repr,
}


class Gone(BaseException):
    """The other side has ended. Not an Exception: no `except Exception` of a test may pass over it."""


class RemoteError(Exception):
    """The other side raised something that has no like here."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


class Remote:
    """Something that lives on the other side. Equal to itself alone."""

    __slots__ = ("_number", "_wire")

    def __init__(self, wire: "Wire", number: int) -> None:
        object.__setattr__(self, "_wire", wire)
        object.__setattr__(self, "_number", number)

    def __call__(self, *arguments: "Any", **named: "Any") -> "Any":
        return self._wire.ask("call", self._number, *arguments, **named)

    def __getattr__(self, name: str) -> "Any":
        return self._wire.ask("__getattribute__", self._number, name)

    def __setattr__(self, name: str, value: "Any") -> None:
        self._wire.ask("__setattr__", self._number, name, value)


def special(name: str) -> "Callable[..., Any]":
    def method(self: Remote, *arguments: "Any") -> "Any":
        try:
            return self._wire.ask(name, self._number, *arguments)
        except RemoteError as error:
            # From any other call a StopIteration must not get through: `all(map(f, cases))` would end there, and be true.
            if name == "__next__" and error.kind == "StopIteration":
                raise StopIteration from None
            raise

    return method


for _name in DEEDS.keys() - {"__getattribute__", "__setattr__"}:
    setattr(Remote, _name, special(_name))


class Wire:
    """One end of a socket, with what this side has lent to the other."""

    def __init__(self, channel: int, obeys: bool) -> None:
        self._in, self._out = os.fdopen(channel, "rb"), os.fdopen(os.dup(channel), "wb")
        self._obeys = obeys
        self._lent: list[Any] = []
        self.gone = False

    def ask(self, do: str, number: int, *arguments: "Any", **named: "Any") -> "Any":
        """What the other side's object says. Raises what it raised, RemoteError, or Gone."""
        self._send({"do": do, "of": number, "arguments": self.pack(arguments), "named": self.pack(named)})
        while "do" in (message := self._receive()):
            self._send(self._answer(message))
        if "raised" in message:
            raise as_error(*message["raised"])
        if "arguments" in message:
            for mine, theirs in zip(arguments, self.unpack(message["arguments"]), strict=True):
                become(mine, theirs)
        return self.unpack(message["value"])

    def serve(self, error: BaseException | None) -> None:
        """Do what is asked, or say the error, until the other side ends."""
        try:
            while message := self._receive():
                self._send(as_message(error) if error else self._answer(message))
        except Gone:
            return

    def lend(self, value: "Any") -> "dict[str, Any]":
        """A number by which the other side may name `value`."""
        if not self._obeys and not callable(value):
            raise TypeError(f"the tests cannot give a {type(value).__name__} to the code: it runs in another process")
        self._lent.append(value)
        return {"remote": len(self._lent) - 1}

    def pack(self, value: "Any") -> "Any":
        """`value` as JSON."""
        kind = type(value)
        if value is None or kind in (bool, int, float, str):
            return value
        if kind is Remote:
            return {"yours": value._number}
        for base in (int, float, str):
            if isinstance(value, base):
                return base(value)
        for collection in (list, tuple, set, frozenset):
            if isinstance(value, collection):
                items = [self.pack(item) for item in value]
                return items if collection is list else {collection.__name__: items}
        if isinstance(value, dict):
            return {"dict": [[self.pack(key), self.pack(item)] for key, item in value.items()]}
        if kind in (bytes, bytearray):
            return {kind.__name__: value.hex()}
        if isinstance(value, complex):
            return {"complex": [value.real, value.imag]}
        if isinstance(value, type):
            name = value.__name__
            if getattr(builtins, name, None) is value:
                return {"type": name}
        return self.lend(value)

    def unpack(self, packed: "Any") -> "Any":
        """The value. Raises ValueError, or what hostile data leads to: TypeError, KeyError, IndexError."""
        if isinstance(packed, list):
            return [self.unpack(item) for item in packed]
        if not isinstance(packed, dict):
            return packed
        ((kind, value),) = packed.items()
        if kind in ("tuple", "set", "frozenset"):
            return getattr(builtins, kind)(map(self.unpack, value))
        if kind == "dict":
            return {self.unpack(key): self.unpack(item) for key, item in value}
        if kind in ("bytes", "bytearray"):
            return getattr(builtins, kind).fromhex(value)
        if kind == "complex":
            return complex(*value)
        if kind == "type" and isinstance(found := getattr(builtins, value), type):
            return found
        if kind == "remote":
            return Remote(self, value)
        if kind == "yours":
            return self._lent[value]
        raise ValueError(f"no value: {kind}")

    def _answer(self, message: "dict[str, Any]") -> "dict[str, Any]":
        try:
            thing, do = self._lent[message["of"]], message["do"]
            arguments, named = self.unpack(message["arguments"]), self.unpack(message["named"])
            if do == "call":
                value = thing(*arguments, **named)
            elif self._obeys:
                value = DEEDS[do](thing, *arguments)
            else:
                raise PermissionError(f"{do} of something of the tests")
            answer = {"value": self.pack(value)}
            if (after := self.pack(arguments)) != message["arguments"]:
                answer["arguments"] = after
            return answer
        except Gone:
            raise
        except BaseException as error:
            return as_message(error)

    def _send(self, message: "dict[str, Any]") -> None:
        try:
            self._out.write(json.dumps(message).encode() + b"\n")
            self._out.flush()
        except OSError:
            self.gone = True
            raise Gone from None

    def _receive(self) -> "dict[str, Any]":
        try:
            line = self._in.readline(LONGEST)
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            self.gone = True
            raise Gone
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError("no message")
        return message


def as_message(error: BaseException) -> "dict[str, Any]":
    try:
        text = str(error)
    except BaseException:
        text = ""
    return {"raised": [type(error).__name__, text[:1000]]}


def as_error(kind: str, text: str) -> Exception:
    """The same built-in exception, so that a test may expect it, or a RemoteError."""
    found = getattr(builtins, kind, None)
    if isinstance(found, type) and issubclass(found, Exception) and found not in (StopIteration, StopAsyncIteration):
        try:
            error = found(text)
        except TypeError:  # some want more than a text
            return RemoteError(kind, text)
        error.__cause__ = RemoteError(kind, text)
        return error
    return RemoteError(kind, text)


def become(mine: "Any", theirs: "Any") -> None:
    """What the other side did to its copy of an argument, done to the argument."""
    if type(mine) is not type(theirs):
        return
    if isinstance(mine, (list, bytearray)):
        mine[:] = theirs
    elif isinstance(mine, (dict, set)):
        mine.clear()
        mine.update(theirs)


def is_small(value: "Any") -> bool:
    """Whether a global may cross as a copy. A table that the code works with need not."""
    return not isinstance(value, (str, bytes, bytearray, list, tuple, set, frozenset, dict)) or len(value) <= 4096


def serve(channel: int, code: str) -> None:
    """The code's side: run `code` as a module, lend a function that gives its names as object 0, and do what is asked."""
    module = sys.modules["solution"] = type(sys)("solution")
    wire = Wire(channel, obeys=True)
    wire.lend(
        lambda: {name: value for name, value in vars(module).items() if not name.startswith("__") and is_small(value)}
    )
    failed = None
    try:
        exec(compile(code, "<code>", "exec"), module.__dict__)
    except BaseException as error:
        failed = error
    wire.serve(failed)
