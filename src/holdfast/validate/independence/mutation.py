"""Mutants of a module by its syntax tree: where something can be changed, and the tree after the change.

A place is a node, by its number in the order in which `ast.walk` meets it, and a variant of one kind of change. Kinds:

    operator    + and −, × and ÷ exchanged
    comparison  < and ≤, > and ≥, = and ≠ exchanged
    constant    a float 1 % larger (0 becomes 0.01), a whole number one more or one less
    min/max     exchanged
    dropped     a term or factor left out, an addition to a variable left out, an absolute value left out
    sign        of a factor, or a minus left out
    index       of an element, an end of a slice or of a range moved by one
    axis        0 and 1 exchanged
    logic       and and or exchanged

What lives here: syntax. What may not: which places are worth trying (`choice`). Annotations, decorators, docstrings,
error texts and assertions are no places.
"""

import ast
import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

KINDS = ("operator", "comparison", "constant", "min/max", "dropped", "sign", "index", "axis", "logic")

_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult
}  # fmt: skip
_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq
}  # fmt: skip
_EXTREMES = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum"}
_INDEXED = ("element", "load", "entry", "put")
"""Calls of compiled code whose second argument is an index."""
_TEXT_LENGTH = 80
_ONE_PERCENT, _ALMOST_NOTHING = 1.01, 0.01


class Place(NamedTuple):
    """A change that can be made.

    Attributes:
        module: Of the source.
        function: Qualified name of the function around it; empty at the module's own level.
        line: Of the node, and
        last_line: its last one.
        number: Of the node, in the order of `ast.walk`.
        kind: One of KINDS.
        variant: Which of the node's changes of this kind.
        before: The source of what is changed, short.
        after: The same afterwards.
        turn: What becomes of what, where two places can be compared by it; else empty.
        words: Names and constants of the statement around it, and
        own_words: of what is changed, for likeness.
    """

    module: str
    function: str
    line: int
    last_line: int
    number: int
    kind: str
    variant: int
    before: str
    after: str
    turn: str
    words: frozenset[str]
    own_words: frozenset[str]


def places(module: str, source: str) -> list[Place]:
    """Every place of a module, in the order of its source.

    Args:
        module: Its name.
        source: Its text.
    """
    tree = ast.parse(source)
    around = _surroundings(tree)
    found = []
    for number, node in enumerate(ast.walk(tree)):
        if node not in around:
            continue
        function, words = around[node]
        for kind, variant, new in changes(node):
            before, after = (" ".join(ast.unparse(one).split())[:_TEXT_LENGTH] for one in (node, new))
            line, last_line = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
            turn, own = _turn(kind, node, new), frozenset(_words_in(node))
            found.append(
                Place(module, function, line, last_line, number, kind, variant, before, after, turn, words, own)
            )
    return sorted(found, key=lambda place: (place.line, place.number, place.kind, place.variant))


def mutated(source: str, place: Place) -> ast.Module:
    """The syntax tree of a module's source after a change.

    Raises:
        StopIteration: The source has no such place.
    """
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    old = nodes[place.number]
    wanted = (place.kind, place.variant)
    new = next(new for kind, variant, new in changes(old) if (kind, variant) == wanted)
    for parent in nodes:
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(one is old for one in value):
                setattr(parent, name, [new if one is old else one for one in value])
    return ast.fix_missing_locations(tree)


def changes(node: ast.AST) -> Iterator[tuple[str, int, ast.AST]]:
    """Kind, variant and what a node becomes, for every change of it."""
    makers: dict[type[ast.AST], Callable[[Any], Iterator[tuple[str, ast.AST]]]] = {
        ast.BinOp: _of_operation,
        ast.AugAssign: _of_addition,
        ast.Compare: _of_comparison,
        ast.Constant: _of_constant,
        ast.Call: _of_call,
        ast.UnaryOp: _of_sign,
        ast.Subscript: _of_subscript,
        ast.BoolOp: _of_logic,
    }
    maker = makers.get(type(node))
    seen: dict[str, int] = {}
    for kind, new in maker(node) if maker else ():
        seen[kind] = seen.get(kind, -1) + 1
        yield kind, seen[kind], ast.copy_location(new, node)


def _turn(kind: str, old: Any, new: Any) -> str:
    """The same text for changes that are alike, wherever they are."""
    if kind == "operator":
        return f"{type(old.op).__name__} {type(new.op).__name__}"
    if kind == "comparison":
        # a < b and b > a are one comparison; what is exchanged is whether equality belongs to it.
        strict = any(isinstance(op, ast.Lt | ast.Gt | ast.NotEq) for op in old.ops)
        return "strict" if strict else "or equal"
    if kind == "constant":
        return f"{float(old.value)} {new.value > old.value}"
    if kind == "min/max":
        return _called(old)[:3]
    return kind if kind in ("dropped", "sign") else ""


def _of_operation(node: ast.BinOp) -> Iterator[tuple[str, ast.AST]]:
    other = _OPERATORS.get(type(node.op))
    if other is None:
        return
    yield "operator", ast.BinOp(node.left, other(), node.right)
    yield "dropped", node.left
    if isinstance(node.op, ast.Add | ast.Mult):
        yield "dropped", node.right
    if isinstance(node.op, ast.Mult | ast.Div):
        yield "sign", ast.BinOp(ast.UnaryOp(ast.USub(), node.left), node.op, node.right)


def _of_addition(node: ast.AugAssign) -> Iterator[tuple[str, ast.AST]]:
    other = _OPERATORS.get(type(node.op))
    if other is not None:
        yield "operator", ast.AugAssign(node.target, other(), node.value)
        yield "dropped", ast.Pass()


def _of_comparison(node: ast.Compare) -> Iterator[tuple[str, ast.AST]]:
    for at, op in enumerate(node.ops):
        other = _COMPARISONS.get(type(op))
        if other is not None:
            ops = [other() if n == at else one for n, one in enumerate(node.ops)]
            yield "comparison", ast.Compare(node.left, ops, node.comparators)


def _of_constant(node: ast.Constant) -> Iterator[tuple[str, ast.AST]]:
    value = node.value
    if isinstance(value, float):
        yield "constant", ast.Constant(value * _ONE_PERCENT if value else _ALMOST_NOTHING)
    elif isinstance(value, int) and not isinstance(value, bool):  # Truth values are whole numbers too.
        yield "constant", ast.Constant(value + 1)
        yield "constant", ast.Constant(value - 1)


def _called(node: ast.Call) -> str:
    return getattr(node.func, "id", getattr(node.func, "attr", ""))


def _of_call(node: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    name = _called(node)
    if name in _EXTREMES:
        function = copy.copy(node.func)
        setattr(function, "id" if isinstance(function, ast.Name) else "attr", _EXTREMES[name])
        # `max` has no `initial`, and where something is empty only one of both has a default: then it is a crash.
        yield "min/max", ast.Call(function, node.args, node.keywords)
    if name == "abs" and len(node.args) == 1:
        yield "dropped", node.args[0]
    if name in _INDEXED and len(node.args) > 1:
        yield "index", ast.Call(node.func, [node.args[0], _one_more(node.args[1]), *node.args[2:]], node.keywords)
    if name == "range" and node.args and not node.keywords:
        for at in range(min(len(node.args), 2)):
            args = [_one_more(one) if n == at else one for n, one in enumerate(node.args)]
            yield "index", ast.Call(node.func, args, [])
    for at, keyword in enumerate(node.keywords):
        if keyword.arg == "axis" and isinstance(keyword.value, ast.Constant) and keyword.value.value in (0, 1):
            turned = ast.keyword("axis", ast.Constant(0 if keyword.value.value else 1))
            keywords = [turned if n == at else one for n, one in enumerate(node.keywords)]
            yield "axis", ast.Call(node.func, node.args, keywords)


def _one_more(node: ast.expr) -> ast.expr:
    return ast.BinOp(node, ast.Add(), ast.Constant(1))


def _of_sign(node: ast.UnaryOp) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node.op, ast.USub):
        yield "sign", node.operand


def _of_subscript(node: ast.Subscript) -> Iterator[tuple[str, ast.AST]]:
    index = node.slice
    if isinstance(index, ast.Slice):
        for name in ("lower", "upper"):
            end = getattr(index, name)
            if end is not None:
                moved = copy.copy(index)
                setattr(moved, name, _one_more(end))
                yield "index", ast.Subscript(node.value, moved, node.ctx)
    elif isinstance(index, ast.Constant | ast.Name) and not isinstance(getattr(index, "value", 0), str):
        yield "index", ast.Subscript(node.value, _one_more(index), node.ctx)


def _of_logic(node: ast.BoolOp) -> Iterator[tuple[str, ast.AST]]:
    yield "logic", ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)


_NO_PLACE = (ast.Raise, ast.Assert, ast.Import, ast.ImportFrom, ast.JoinedStr)
_NOT_VALUES = ("annotation", "returns", "decorator_list")

Surroundings = dict[ast.AST, tuple[str, frozenset[str]]]
"""By node, the function around it and the words of the statement around it."""


def _surroundings(tree: ast.Module) -> Surroundings:
    """The surroundings of every node that may be changed."""
    found: Surroundings = {}
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef) or _is_number(statement):
            _surround(statement, "", frozenset(), found)
    return found


def _surround(node: ast.AST, function: str, words: frozenset[str], found: Surroundings) -> None:
    """Add a node and those within it."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        is_class = isinstance(node, ast.ClassDef)
        for statement in node.body:
            if not is_class or isinstance(statement, ast.FunctionDef):
                _surround(statement, f"{function}.{node.name}".lstrip("."), words, found)
        return
    if isinstance(node, _NO_PLACE) or _called_in(node) == "invariant":
        return
    around = _words(node) if isinstance(node, ast.stmt) else words
    found[node] = function, around
    for child in _children(node, _NOT_VALUES):
        _surround(child, function, around, found)


def _children(node: ast.AST, without: tuple[str, ...]) -> Iterator[ast.AST]:
    """Child nodes but those of some fields."""
    for name, value in ast.iter_fields(node):
        if name not in without:
            yield from (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, ast.AST))


def _called_in(node: ast.AST) -> str:
    return _called(node.value) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else ""


def _is_number(node: ast.stmt) -> bool:
    """Whether a statement of a module's own level gives a name to numbers."""
    allowed = (ast.Constant, ast.BinOp, ast.UnaryOp, ast.Tuple, ast.operator, ast.unaryop, ast.Load, ast.Name)
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    texts = (one.value for one in ast.walk(value) if isinstance(one, ast.Constant)) if value else ()
    return (
        value is not None
        and all(isinstance(one, allowed) for one in ast.walk(value))
        and not any(isinstance(text, str) for text in texts)
    )


def _words(statement: ast.stmt) -> frozenset[str]:
    """Names and constants of a statement, of a compound one those of its head."""
    heads = _children(statement, ("body", "orelse", "finalbody", "handlers"))
    return frozenset(word for head in heads for word in _words_in(head))


def _words_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield from _split(node.id)
        elif isinstance(node, ast.Attribute):
            yield from _split(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            yield repr(float(node.value))


def _split(name: str) -> list[str]:
    """The words of a name, singular, in small letters."""
    return [word.rstrip("s") for word in name.lower().split("_") if len(word) > 2]
