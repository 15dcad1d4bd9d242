"""Classes of data, as the standard library's `dataclass`, `NamedTuple` and `Enum` define them, at a third of the price.

A short run defines more than a hundred, and the standard library compiles six functions for each `dataclass`, and the type of
each field of a `NamedTuple`. Here only `__new__`, and one `__init__` for all classes with as many fields, are compiled, and what
represents and compares is shared. The type checker, to whom these are the standard library's, sees that nobody changes what is
frozen: at run time nothing stands in the way.
"""

from __future__ import annotations

import dataclasses
import operator
from collections import namedtuple
from functools import cache
from types import CodeType, FunctionType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass
    from enum import Enum
    from typing import NamedTuple
else:

    class _Members(type):
        def __init__(cls, name, bases, body):
            super().__init__(name, bases, body)
            cls._known = {}
            for word, value in body.items():
                if word.isupper():
                    made = cls._known[value] = object.__new__(cls)
                    made.name, made.value = word, value
                    setattr(cls, word, made)

        def __call__(cls, value):
            if value not in cls._known:
                raise ValueError(f"{value!r} is not a valid {cls.__qualname__}")
            return cls._known[value]

        def __iter__(cls):
            return iter(cls._known.values())

    class Enum(metaclass=_Members):
        """Whoever has it as a base has the members that it names in capitals; until Python 3.12 `enum` finds one by Python code."""

        def __reduce__(self):
            return type(self), (self.value,)

        def __repr__(self):
            return f"<{type(self).__qualname__}.{self.name}: {self.value!r}>"

        def __str__(self):
            return f"{type(self).__qualname__}.{self.name}"

    class _Named(type):
        def __new__(mcs, name, bases, body):
            if not bases:
                return super().__new__(mcs, name, bases, body)
            fields = body.get("__annotations__", {})
            defaults = [body[field] for field in fields if field in body]
            made = namedtuple(name, fields, defaults=defaults)
            for attribute, value in body.items():
                if attribute not in fields:
                    setattr(made, attribute, value)
            return made

    class NamedTuple(metaclass=_Named):
        """Whoever has it as a base is a tuple with names for what it annotates."""

    def dataclass(*, frozen=False, eq=True, order=False, **options):
        """Define a class of data; of its methods, those stay that it writes itself."""

        def define(cls):
            plain = _is_plain(cls, **options)
            made = dataclasses.dataclass(eq=False, repr=False, init=not plain, **options)(cls)
            methods = _comparing(made, hashed=frozen, ordered=order) if eq else {}
            if plain:
                methods["__init__"] = _initializing(dataclasses.fields(made))
            for name, method in {"__repr__": _represented, **methods}.items():
                if name not in vars(cls):
                    setattr(made, name, method)
            return made

        return define

    def _is_plain(cls, kw_only=False, **_):
        """Whether an instance is made of what is passed, and of nothing else."""
        known = (*getattr(cls, "__dataclass_fields__", {}).values(), *vars(cls).values())
        factories = (getattr(each, "default_factory", dataclasses.MISSING) for each in known)
        return not kw_only and not hasattr(cls, "__post_init__") and set(factories) <= {dataclasses.MISSING}

    def _initializing(fields):
        """Return what gives an instance its fields: it is compiled once for all classes that have as many, under other names."""
        names = tuple(field.name for field in fields)
        defaults = tuple(field.default for field in fields if field.default is not dataclasses.MISSING)
        code = _assigning(len(names)).replace(co_names=names, co_varnames=("self", *names))
        return FunctionType(code, {}, "__init__", defaults)

    @cache
    def _assigning(count):
        names = [f"_{number}" for number in range(count)]
        body = "".join(f" self.{name} = {name}\n" for name in names)
        source = f"def __init__({', '.join(['self', *names])}):\n{body or ' pass'}"
        return next(each for each in compile(source, "<data>", "exec").co_consts if isinstance(each, CodeType))

    def _represented(self):
        shown = (f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self) if field.repr)
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def _comparing(made, *, hashed, ordered):
        """Return the methods that compare what is in two instances."""
        names = [field.name for field in dataclasses.fields(made) if field.compare]
        content = operator.attrgetter(*names) if len(names) > 1 else _content_of(names)
        asked = (operator.eq, *((operator.lt, operator.le, operator.gt, operator.ge) if ordered else ()))
        methods = {f"__{compare.__name__}__": _comparison(compare, content) for compare in asked}
        return {**methods, "__hash__": (lambda self: hash(content(self))) if hashed else None}

    def _content_of(names):
        return lambda self: tuple(getattr(self, name) for name in names)

    def _comparison(compare, content):
        def compared(self, other):
            return compare(content(self), content(other)) if self.__class__ is other.__class__ else NotImplemented

        return compared


__all__ = ["Enum", "NamedTuple", "dataclass"]
