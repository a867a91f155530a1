"""Classes with named fields, made without generating code.

They behave like dataclasses: a `Record` like a frozen one, a `@bundle` like one that grows and is
itself alone. A class costs microseconds to make instead of half a millisecond, which the start of
`dln check` would feel: the syntax tree alone has sixty of them.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

Made = TypeVar("Made")


@dataclass_transform(frozen_default=True)
class Record:
    """Fields are the annotations of the class, in order; a value given there is the default.
    Those of a class made with `kw_only=True` are given by name, as those of its parents are. One
    made with `eq=False` is itself alone: it is compared and hashed by identity.

    Fields of type `Span` say where something stands, not what it is, and take no part in
    comparison.

    >>> class Point(Record):
    ...     x: int
    ...     y: int = 0
    >>> Point(1), Point(1) == Point(1, y=0), Point(1).changed(y=2)
    (Point(x=1, y=0), True, Point(x=1, y=2))
    """

    _fields: ClassVar[tuple[str, ...]] = ()
    _compared: ClassVar[tuple[str, ...]] = ()
    _content: ClassVar[Any] = staticmethod(len)  # the values of these, of the fields by name
    _defaults: ClassVar[dict[str, Any]] = {}
    __match_args__: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, kw_only: bool = False, eq: bool = True) -> None:
        annotated = cls.__dict__.get("__annotations__", {}).items()
        own = {k: v for k, v in annotated if not v.startswith("ClassVar")}
        given = {k: cls.__dict__[k] for k in own if k in cls.__dict__}
        for name in given:
            delattr(cls, name)
        # Fields of the class itself come first; those of its parents are given by name.
        cls._fields = (*own, *cls._fields)
        type.__setattr__(cls, "__match_args__", () if kw_only else tuple(own))
        cls._compared = (*cls._compared, *(k for k, v in own.items() if v.split(" ")[0] != "Span"))
        content = itemgetter(*cls._compared) if cls._compared else len
        type.__setattr__(cls, "_content", staticmethod(content))
        cls._defaults = {**cls._defaults, **given}
        if not eq:
            type.__setattr__(cls, "__eq__", object.__eq__)
            type.__setattr__(cls, "__hash__", object.__hash__)

    def __init__(self, *values: Any, **named: Any) -> None:
        held = self.__dict__
        if self._defaults:
            held.update(self._defaults)
        held.update(zip(self._fields, values, strict=False))
        held.update(named)
        if len(held) != len(self._fields):
            missing = [k for k in self._fields if k not in held]
            extra = [k for k in held if k not in self._fields]
            raise TypeError(f"{type(self).__name__} lacks {missing}, does not know {extra}")

    def changed(self, **new: Any) -> Self:
        """A copy with some fields replaced. Raises `TypeError` for one that there is not."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made.__dict__.update(new)
        if len(made.__dict__) != len(self.__dict__):
            unknown = sorted(made.__dict__.keys() - self.__dict__.keys())
            raise TypeError(f"{type(self).__name__} does not know {unknown}")
        return made

    @classmethod
    def extending(cls, base: Record, **more: Any) -> Self:
        """A record with `more`, and with the fields that it has in common with another of a class
        that both extend.

        >>> class Point(Record, kw_only=True):
        ...     x: int
        >>> class Named(Point):
        ...     name: str
        >>> class Placed(Point):
        ...     page: int
        >>> Placed.extending(Named("a", x=1), page=7)
        Placed(page=7, x=1)
        """
        common = next(c for c in cls.__mro__ if issubclass(c, Record) and isinstance(base, c))
        return cls(**{k: getattr(base, k) for k in common._fields} | more)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a {type(self).__name__} is frozen: {name} cannot be set")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        same: bool = self._content(self.__dict__) == self._content(other.__dict__)
        return same

    def __hash__(self) -> int:
        return hash((type(self), self._content(self.__dict__)))

    def __repr__(self) -> str:
        shown = ", ".join(f"{k}={getattr(self, k)!r}" for k in self._fields if k in self._compared)
        return f"{type(self).__name__}({shown})"


class Fresh:
    """The default of a field of which each bundle has its own."""

    __slots__ = ("make", "taken")

    def __init__(self, make: Callable[[], Any] | None, taken: bool) -> None:
        self.make, self.taken = make, taken


def field(*, default_factory: Callable[[], Any] | None = None, init: bool = True) -> Any:
    """A field whose default is made anew for each bundle, or that is not given (`init`)."""
    return Fresh(default_factory, init)


def not_given(kind: type) -> list[str]:
    """The fields of a bundle that are not given."""
    known: dict[str, Any] = getattr(kind, "_bundled")  # noqa: B009
    return [k for k, v in known.items() if isinstance(v, Fresh) and not v.taken]


@dataclass_transform(eq_default=False, field_specifiers=(field,))
def bundle(*, kw_only: bool = False, frozen: bool = False) -> Callable[[type[Made]], type[Made]]:
    """Make a class of its annotations, after those of its parents, as `dataclass(eq=False)` does.

    >>> @bundle()
    ... class Basket:
    ...     owner: str
    ...     things: list[str] = field(default_factory=list)
    >>> Basket("a").things, Basket("a") == Basket("a")
    ([], False)
    """

    def made(cls: type[Made]) -> type[Made]:
        known: dict[str, Any] = dict(getattr(cls, "_bundled", {}))
        annotated = cls.__dict__.get("__annotations__", {}).items()
        for name in (k for k, v in annotated if not v.startswith("ClassVar")):
            known[name] = cls.__dict__.get(name, Fresh)
            if isinstance(known[name], Fresh):
                delattr(cls, name)
        fresh = {k: v for k, v in known.items() if isinstance(v, Fresh)}
        given = tuple(k for k in known if k not in fresh or fresh[k].taken)
        own = [(k, v.make) for k, v in fresh.items() if v.make is not None]
        plain = {k: v for k, v in known.items() if k not in fresh and v is not Fresh}
        count = len(given)

        def start(self: Any, *values: Any, **named: Any) -> None:
            held = self.__dict__
            held.update(plain)
            held.update(zip(given, values, strict=False))
            held.update(named)
            for name, make in own:
                if name not in held:
                    held[name] = make()
            if len(held) != count:
                missing = [k for k in given if k not in held]
                extra = [k for k in held if k not in given]
                raise TypeError(f"{cls.__name__} lacks {missing}, does not know {extra}")
            if hasattr(cls, "__post_init__"):
                self.__post_init__()

        if frozen:
            cls.__setattr__ = Record.__setattr__  # type: ignore[method-assign, assignment]
        cls.__init__ = start  # type: ignore[method-assign]
        cls._bundled = known  # type: ignore[attr-defined]
        return cls

    return made
