"""DynamoDB's expressions, as far as anything here uses them (Developer Guide, "Expressions").

    condition   a = :b  <>  <  <=  >  >=  ·  IN (…)  ·  BETWEEN … AND …  ·  AND OR NOT ( )
                attribute_exists  attribute_not_exists  begins_with  contains  size
    update      SET a = value (+ - value)  ·  REMOVE a  ·  ADD a :n, also to a set  ·  DELETE a :set
                if_not_exists  list_append

What is not understood is an error, so that no test rests on a condition that nobody looked at.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

Value = Any
"""As DynamoDB writes one, such as `{"S": "text"}`; None where there is none."""
Item = dict[str, Value]

_TOKEN = re.compile(r"\s*(<=|>=|<>|[=<>(),+.\[\]-]|[#:]?[A-Za-z0-9_]+)")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


class Scope:
    """One item, and what the expression's names and values stand for."""

    def __init__(self, item: Item, request: Mapping[str, Any]) -> None:
        self.item = item
        self._names = request.get("ExpressionAttributeNames", {})
        self._values = request.get("ExpressionAttributeValues", {})

    def name(self, token: str) -> str:
        return str(self._names[token]) if token.startswith("#") else token

    def get(self, path: list[str]) -> Value:
        found: Value = self.item.get(self.name(path[0]))
        for token in path[1:]:
            if found is None:
                return None
            found = found["L"][int(token)] if token.isdigit() else found.get("M", {}).get(self.name(token))
        return found

    def value(self, token: str) -> Value:
        return self._values[token]


Term = Callable[[Scope], Any]


def plain(value: Value) -> Any:
    """What two values are compared by; of differing types none is less or greater."""
    if value is None:
        return None
    ((kind, raw),) = value.items()
    if kind == "N":
        return (kind, Decimal(raw))
    if kind == "S":
        return (kind, raw.encode("utf-8", "surrogatepass"))
    if kind in ("SS", "NS"):
        return (kind, sorted(raw))
    return (kind, raw)


@lru_cache(maxsize=256)
def condition(text: str) -> Callable[[Scope], bool]:
    parser = _Parser(text)
    term = parser.alternatives()
    parser.end()
    return lambda scope: bool(term(scope))


@lru_cache(maxsize=256)
def update(text: str) -> Callable[[Scope], Item]:
    """The item as it is afterwards; every value is read from the item as it was before."""
    parser = _Parser(text)
    actions: list[Callable[[Scope, Item], None]] = []
    while parser.token:
        section = parser.take().upper()
        make = {"SET": parser.set, "REMOVE": parser.remove, "ADD": parser.add, "DELETE": parser.discard}
        actions.append(make[section]())
        while parser.token == ",":
            parser.take()
            actions.append(make[section]())

    def apply(scope: Scope) -> Item:
        after = dict(scope.item)
        for action in actions:
            action(scope, after)
        return after

    return apply


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[str] = []
        at = 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if found is None:
                raise NotImplementedError(f"{text!r} at {at}")
            self._tokens.append(found[1])
            at = found.end()
        self._at = 0

    @property
    def token(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def take(self, *wanted: str) -> str:
        token = self.token
        if not token or (wanted and token.upper() not in wanted):
            raise NotImplementedError(f"{self._text!r}: {token!r} instead of {wanted}")
        self._at += 1
        return token

    def end(self) -> None:
        if self.token:
            raise NotImplementedError(f"{self._text!r}: {self.token!r} is left over")

    # --- conditions

    def alternatives(self) -> Term:
        terms = [self._all_of()]
        while self.token.upper() == "OR":
            self.take()
            terms.append(self._all_of())
        return lambda scope: any(term(scope) for term in terms)

    def _all_of(self) -> Term:
        terms = [self._one()]
        while self.token.upper() == "AND":
            self.take()
            terms.append(self._one())
        return lambda scope: all(term(scope) for term in terms)

    def _one(self) -> Term:
        if self.token.upper() == "NOT":
            self.take()
            term = self._one()
            return lambda scope: not term(scope)
        if self.token == "(":
            self.take()
            inner = self.alternatives()
            self.take(")")
            return inner
        if self.token.lower() in ("attribute_exists", "attribute_not_exists"):
            wanted = self.take().lower() == "attribute_exists"
            self.take("(")
            path = self._path()
            self.take(")")
            return lambda scope: (scope.get(path) is not None) is wanted
        if self.token.lower() in ("begins_with", "contains"):
            return self._text_function()
        return self._comparison()

    def _text_function(self) -> Term:
        function = self.take().lower()
        self.take("(")
        whole = self._operand()
        self.take(",")
        part = self._operand()
        self.take(")")

        def holds(scope: Scope) -> bool:
            value, wanted = whole(scope), part(scope)
            if value is None:
                return False
            if function == "begins_with":
                return str(value["S"]).startswith(wanted["S"])
            ((kind, raw),) = value.items()
            return wanted in raw if kind == "L" else next(iter(wanted.values())) in raw

        return holds

    def _comparison(self) -> Term:
        left = self._operand()
        if self.token.upper() == "IN":
            self.take()
            self.take("(")
            choices = [self._operand()]
            while self.token == ",":
                self.take()
                choices.append(self._operand())
            self.take(")")
            return lambda scope: any(plain(left(scope)) == plain(choice(scope)) for choice in choices)
        if self.token.upper() == "BETWEEN":
            self.take()
            low = self._operand()
            self.take("AND")
            high = self._operand()
            return lambda scope: (
                _compared("<=", low(scope), left(scope)) and _compared("<=", left(scope), high(scope))
            )
        operator = self.take(*_COMPARE)
        right = self._operand()
        return lambda scope: _compared(operator, left(scope), right(scope))

    def _operand(self) -> Term:
        if self.token.startswith(":"):
            token = self.take()
            return lambda scope: scope.value(token)
        if self.token.lower() == "size":
            self.take()
            self.take("(")
            path = self._path()
            self.take(")")
            return lambda scope: _size(scope.get(path))
        path = self._path()
        return lambda scope: scope.get(path)

    def _path(self) -> list[str]:
        path = [self.take()]
        while self.token in (".", "["):
            bracket = self.take() == "["
            path.append(self.take())
            if bracket:
                self.take("]")
        return path

    # --- updates

    def set(self) -> Callable[[Scope, Item], None]:
        path = self._path()
        self.take("=")
        value = self._sum()

        def assign(scope: Scope, after: Item) -> None:
            _place(scope, after, path, value(scope))

        return assign

    def _sum(self) -> Term:
        term = self._new_value()
        while self.token in ("+", "-"):
            sign, left, right = 1 if self.take() == "+" else -1, term, self._new_value()
            term = _plus(left, right, sign)
        return term

    def _new_value(self) -> Term:
        function = self.token.lower()
        if function not in ("if_not_exists", "list_append"):
            return self._operand()
        self.take()
        self.take("(")
        first = self._sum()
        self.take(",")
        second = self._sum()
        self.take(")")
        if function == "if_not_exists":
            return lambda scope: second(scope) if first(scope) is None else first(scope)
        return lambda scope: {"L": [*first(scope)["L"], *second(scope)["L"]]}

    def remove(self) -> Callable[[Scope, Item], None]:
        path = self._path()
        return lambda scope, after: _place(scope, after, path, None)

    def add(self) -> Callable[[Scope, Item], None]:
        path, operand = self._path(), self._operand()

        def increase(scope: Scope, after: Item) -> None:
            there, more = scope.get(path), operand(scope)
            ((kind, raw),) = more.items()
            if kind == "N":
                sum_ = Decimal(there["N"] if there else 0) + Decimal(raw)
                _place(scope, after, path, {"N": str(sum_)})
            else:
                _place(scope, after, path, {kind: sorted({*(there[kind] if there else ()), *raw})})

        return increase

    def discard(self) -> Callable[[Scope, Item], None]:
        path, operand = self._path(), self._operand()

        def decrease(scope: Scope, after: Item) -> None:
            ((kind, raw),) = operand(scope).items()
            left = sorted(set((scope.get(path) or {kind: []})[kind]) - set(raw))
            _place(scope, after, path, {kind: left} if left else None)

        return decrease


def _compared(operator: str, left: Value, right: Value) -> bool:
    """Against what is not there, only `<>` holds."""
    one, other = plain(left), plain(right)
    if one is None or other is None:
        return operator == "<>" and one is not other
    if one[0] != other[0]:
        return operator == "<>"
    return _COMPARE[operator](one, other)


def _size(value: Value) -> Value:
    if value is None:
        return None
    ((kind, raw),) = value.items()
    return {"N": str(len(raw.encode()) if kind == "S" else len(raw))}


def _plus(left: Term, right: Term, sign: int) -> Term:
    return lambda scope: {"N": str(Decimal(left(scope)["N"]) + sign * Decimal(right(scope)["N"]))}


def _place(scope: Scope, after: Item, path: list[str], value: Value) -> None:
    """Set or, with None, remove what lies at a path; what is nested is copied, as others may hold it."""
    *parents, last = map(scope.name, path)
    place = after
    for name in parents:
        place[name] = {"M": dict(place[name]["M"])}
        place = place[name]["M"]
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value
