"""DynamoDB, as far as anything here uses it: items, conditions, queries in pages, transactions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.unit.fake.errors import Refused
from tests.unit.fake.expressions import Item, Scope, condition, plain, update

Key = tuple[Any, ...]


@dataclass
class Table:
    key_names: tuple[str, ...]
    items: dict[Key, Item] = field(default_factory=dict)
    indexes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Name to the attributes of its key."""

    def key(self, item: Mapping[str, Any]) -> Key:
        return tuple(plain(item[name]) for name in self.key_names)


class DynamoDb:
    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self.watch: Callable[[str, Item | None, Item | None], None] = lambda *_: None
        """Is told of every write: the table, the item before and after it."""

    def copy(self) -> "DynamoDb":
        """Items are replaced and never changed, so that they need not be copied."""
        made = DynamoDb()
        made.watch = self.watch
        made.tables = {name: Table(t.key_names, dict(t.items), t.indexes) for name, t in self.tables.items()}
        return made

    def create_table(self, request: Any) -> Any:
        indexes = request.get("GlobalSecondaryIndexes", [])
        self.tables[request["TableName"]] = Table(
            _key_names(request), indexes={index["IndexName"]: _key_names(index) for index in indexes}
        )
        return {}

    def get_item(self, request: Any) -> Any:
        table = self._table(request)
        found = table.items.get(table.key(request["Key"]))
        return {} if found is None else {"Item": _projected(found, request)}

    def put_item(self, request: Any) -> Any:
        table = self._table(request)
        key = table.key(request["Item"])
        self._check(table, key, request)
        self._write(request, key, dict(request["Item"]))
        return {}

    def update_item(self, request: Any) -> Any:
        table = self._table(request)
        key = table.key(request["Key"])
        self._check(table, key, request)
        before = table.items.get(key)
        after = self._updated(table, key, request)
        self._write(request, key, after)
        wanted = request.get("ReturnValues", "NONE")
        if wanted == "NONE":
            return {}
        if wanted not in ("ALL_NEW", "ALL_OLD"):
            raise NotImplementedError(wanted)
        return {"Attributes": dict(after if wanted == "ALL_NEW" else before or {})}

    def delete_item(self, request: Any) -> Any:
        table = self._table(request)
        key = table.key(request["Key"])
        self._check(table, key, request)
        before = table.items.get(key)
        self._write(request, key, None)
        return {"Attributes": before} if before and request.get("ReturnValues") == "ALL_OLD" else {}

    def query(self, request: Any) -> Any:
        table = self._table(request)
        holds = condition(request["KeyConditionExpression"])
        found = [(key, item) for key, item in table.items.items() if holds(Scope(item, request))]
        if name := request.get("IndexName"):  # what has no such key is not in it
            if "ExclusiveStartKey" in request:
                raise NotImplementedError("a second page of an index")
            names = table.indexes[name]
            found = [((*(plain(i[n]) for n in names), *k), i) for k, i in found if all(n in i for n in names)]
        found.sort(key=lambda entry: entry[0])
        if not request.get("ScanIndexForward", True):
            found.reverse()
        return self._page(table, found, request)

    def scan(self, request: Any) -> Any:
        table = self._table(request)
        return self._page(table, sorted(table.items.items(), key=lambda entry: entry[0]), request)

    def transact_write_items(self, request: Any) -> Any:
        """All or nothing."""
        reasons: list[dict[str, Any]] = []
        for entry in request["TransactItems"]:
            ((kind, one),) = entry.items()
            table = self._table(one)
            key = table.key(one["Item"] if kind == "Put" else one["Key"])
            try:
                self._check(table, key, one)
                reasons.append({"Code": "None"})
            except Refused as refused:
                reasons.append({"Code": "ConditionalCheckFailed", **refused.more})
        if any(reason["Code"] != "None" for reason in reasons):
            raise Refused(400, "TransactionCanceledException", CancellationReasons=reasons)
        for entry in request["TransactItems"]:
            ((kind, one),) = entry.items()
            table = self._table(one)
            key = table.key(one["Item"] if kind == "Put" else one["Key"])
            if kind == "Put":
                self._write(one, key, dict(one["Item"]))
            elif kind == "Delete":
                self._write(one, key, None)
            elif kind == "Update":
                self._write(one, key, self._updated(table, key, one))
        return {}

    def batch_write_item(self, request: Any) -> Any:
        for name, writes in request["RequestItems"].items():
            for write in writes:
                ((kind, one),) = write.items()
                call = self.put_item if kind == "PutRequest" else self.delete_item
                call({"TableName": name, **one})
        return {"UnprocessedItems": {}}

    def _write(self, request: Any, key: Key, after: Item | None) -> None:
        items = self._table(request).items
        before = items.pop(key, None)
        if after is not None:
            items[key] = after
        self.watch(request["TableName"], before, after)

    def _table(self, request: Any) -> Table:
        try:
            return self.tables[request["TableName"]]
        except KeyError:
            raise Refused(400, "ResourceNotFoundException") from None

    @staticmethod
    def _check(table: Table, key: Key, request: Any) -> None:
        there = table.items.get(key)
        wanted = request.get("ConditionExpression")
        if wanted is None or condition(wanted)(Scope(there or {}, request)):
            return
        shown = there and request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
        more = {"Item": dict(there)} if shown and there else {}
        raise Refused(400, "ConditionalCheckFailedException", **more)

    @staticmethod
    def _updated(table: Table, key: Key, request: Any) -> Item:
        there = table.items.get(key) or dict(request["Key"])
        expression = request.get("UpdateExpression")
        return update(expression)(Scope(there, request)) if expression else there

    @staticmethod
    def _page(table: Table, found: list[tuple[Key, Item]], request: Any) -> Any:
        if start := request.get("ExclusiveStartKey"):
            behind = table.key(start)
            back = not request.get("ScanIndexForward", True)
            found = [(key, item) for key, item in found if (key < behind if back else key > behind)]
        limit = request.get("Limit", len(found))
        read, more = found[:limit], len(found) >= limit > 0 and "Limit" in request
        wanted = request.get("FilterExpression")
        kept = [item for _, item in read if not wanted or condition(wanted)(Scope(item, request))]
        answer: dict[str, Any] = {
            "Items": [_projected(item, request) for item in kept],
            "Count": len(kept),
            "ScannedCount": len(read),
        }
        if more and len(found) > limit:
            last = read[-1][1]
            answer["LastEvaluatedKey"] = {name: last[name] for name in table.key_names}
        return answer


def _key_names(of: Any) -> tuple[str, ...]:
    schema = sorted(of["KeySchema"], key=lambda entry: str(entry["KeyType"]))
    return tuple(entry["AttributeName"] for entry in schema)


def _projected(item: Item, request: Any) -> Item:
    wanted = request.get("ProjectionExpression")
    if not wanted:
        return dict(item)
    scope = Scope(item, request)
    names = [scope.name(name.strip()) for name in wanted.split(",")]
    return {name: item[name] for name in names if name in item}
