"""What a million files cost, from counted calls and list prices.

    python -m benchmarks.cost              # the tables
    python -m benchmarks.cost --lines      # and what each figure is made of
    python -m benchmarks.cost --write      # into docs/cost-and-scale.md

No test asserts a price; one asserts that the page shows what is reckoned here.
"""

import argparse
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.designs import COUNTED, HERE, Design, Use, designs

PAGE = HERE.parent / "docs" / "cost-and-scale.md"
PRICES: Mapping[str, Any] = json.loads((HERE / "prices.json").read_text(encoding="utf-8"))
MILLION = 1_000_000

WORK = {
    "light": "a light file without outputs",
    "text": "a text file, one output",
    "data": "JSON with 10 events",
    "webhook": "a light file, and one webhook told of it",
    "heavy": "a heavy file without outputs",
    "presign": "`POST /presign`",
    "job": "`GET /jobs/{jobId}`",
    "jobs": "`GET /jobs`",
}


def dollars(use: Use) -> float:
    price = PRICES["prices"][use.price]
    return float(use.amount * price["dollars"] / price["per"])


def per_million(design: Design) -> float:
    """Of the files alone, whatever the month costs beside them."""
    return MILLION * sum(map(dollars, design.per_file))


def per_month(design: Design) -> float:
    """Whether a file comes or none."""
    return sum(map(dollars, design.per_month))


def in_use(design: Design) -> float:
    """A month more where files come, however many."""
    return sum(map(dollars, design.in_use))


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(heads), *(list(row) for row in rows)]
    lines.insert(1, ["---:" if n else "---" for n in range(len(lines[0]))])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def calls_table() -> str:
    return table(
        ("work", "AWS calls", "of these S3", "DynamoDB", "SQS and SNS", "others", "functions", "write units"),
        ((what, *map(str, _calls(COUNTED[work]))) for work, what in WORK.items()),
    )


def _calls(counted: Mapping[str, Any]) -> Iterable[int]:
    by_service: Counter[str] = Counter()
    for name, count in counted["calls"].items():
        by_service[name.partition(".")[0]] += count
    messages = by_service["sqs"] + by_service["sns"]
    total, s3, dynamodb = counted["total"], by_service["s3"], by_service["dynamodb"]
    others = total - s3 - dynamodb - messages
    return total, s3, dynamodb, messages, others, sum(counted["invocations"].values()), counted["writeUnits"]


def cost_table() -> str:
    return table(
        ("design", "a million files", "and a month, idle", "a month of a million"),
        (
            (
                f"{design.name} ({design.assumes})",
                f"${per_million(design):,.2f}",
                f"${per_month(design):,.2f}",
                f"${per_million(design) + per_month(design) + in_use(design):,.2f}",
            )
            for design in designs()
        ),
    )


def lines_of(design: Design) -> str:
    """What a million files use, the dearest first."""
    amounts: defaultdict[str, float] = defaultdict(float)
    for use in design.per_file:
        amounts[use.price] += use.amount * MILLION
    costs = sorted(((dollars(Use(price, amount)), price) for price, amount in amounts.items()), reverse=True)
    return "\n".join(
        f"  ${cost:>8,.2f}  {amounts[price]:>14,.0f} {PRICES['prices'][price]['of']}" for cost, price in costs
    )


def shares_table(design: Design) -> str:
    """Of a million files, by what is paid for; the dearest first."""
    costs: defaultdict[str, float] = defaultdict(float)
    for use in design.per_file:
        costs[use.price.partition(".")[0]] += MILLION * dollars(use)
    names = {
        "api": "API Gateway, two requests",
        "lambda": "Lambda",
        "s3": "S3 requests",
        "dynamodb": "DynamoDB",
        "sqs": "SQS",
        "sns": "SNS",
        "logs": "CloudWatch Logs",
    }
    dearest = sorted(costs.items(), key=lambda entry: -entry[1])
    return table(("of it", "dollars"), ((names[name], f"${cost:,.2f}") for name, cost in dearest))


def written(page: str) -> str:
    """The page with every block as it is reckoned now."""
    blocks = {"calls": calls_table(), "cost": cost_table(), "shares": shares_table(designs()[0])}
    for name, block in blocks.items():
        page = fill(page, name, block)
    return page


def fill(page: str, name: str, block: str) -> str:
    """The page with this block between `<!-- name -->` and `<!-- end -->`."""
    marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not marks.search(page):
        raise ValueError(f"no <!-- {name} --> … <!-- end --> in the page")
    return marks.sub(lambda found: f"{found[1]}{block}\n{found[2]}", page)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cost", description="What a million files cost."
    )
    parser.add_argument("--lines", action="store_true", help="say what each figure is made of")
    parser.add_argument("--write", action="store_true", help=f"into {Path('docs') / PAGE.name}")
    options = parser.parse_args()
    if options.write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"List prices of {PRICES['region']}, {PRICES['asOf']}\n")
    print(calls_table(), cost_table(), sep="\n\n")
    if options.lines:
        for design in designs():
            print(f"\n{design.name}: ${per_million(design):,.2f}\n{lines_of(design)}")


if __name__ == "__main__":
    main()
