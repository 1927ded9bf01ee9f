"""`dualview tables`: a DLGN on a table, beside other estimators, as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dualview.cli.interruption import told_if_interrupted
from dualview.cli.options import add_fields, gathered, page_beside_numbers
from dualview.errors import TableError
from dualview.progress import Terminal
from dualview.tabular.comparing.settings import TASKS, TableSettings
from dualview.training import SettingsError

if TYPE_CHECKING:
    from dualview.tabular.comparing.findings import TableComparison

NAME = "tables"
USAGE = "dualview tables --data FILE --target COLUMN [OPTION ...]"
HELP = "train a DLGN on a table (CSV, Parquet), compare it with others, and read it, as a page"
DESCRIPTION = """\
Train a small DLGN on a table and compare it, on the same folds and on rows held out, with a random
forest, gradient boosting, an MLP and a linear model. Ends with a table and a page: how right each
is, an oblique decision tree that is read off the network's gates, the columns that matter, and
single predictions as sums of what their columns add.

Columns of text are taken as categories, empty cells (also NA, nan, null, none, ?) as missing. A
cell that is wrong is named by its line and column."""
EPILOG = """\
examples:
  dualview tables --data houses.csv --target price
      a number: regression
  dualview tables --data patients.parquet --target outcome --leave-out name id --categories ward
      text: classification; two columns are not looked at, and the numbers of wards are names
  dualview tables --data big.csv --target churn --folds 3 --most-rows 5000
      fewer fits, fewer rows

In Python: dualview.compare_table("houses.csv", "price").write_page("houses.html")"""


def add_options(parser: Any) -> None:
    """The options of this command."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data", metavar="FILE", type=str, required=True, help=".csv, .tsv, .txt or .parquet"
    )
    group.add_argument(
        "--target", metavar="COLUMN", type=str, required=True, help="column to predict"
    )
    group.add_argument(
        "--task",
        choices=list(TASKS),
        default="auto",
        help="auto: classes where the target is text, or whole numbers of at most ten values",
    )
    add_fields(group, TableSettings, "categories", "leave_out", "most_rows")
    group = parser.add_argument_group("comparison")
    add_fields(group, TableSettings, "others", "test", "folds", "seed")
    group = parser.add_argument_group("network and tree")
    group.add_argument(
        "--kind", choices=["dlgn", "dlgn-sf"], default="dlgn", help="dlgn-sf: shallow gates"
    )
    add_fields(group, TableSettings, "width", "depth", "max_depth")
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=str,
        default="table.html",
        help="the page; .json with the numbers goes beside",
    )


def run(options: Any, again: str) -> int:
    """Read, compare, print, and write page and numbers."""
    page = page_beside_numbers(options.out, "table.html")
    try:
        settings = gathered(
            TableSettings,
            options,
            **{
                name: tuple(getattr(options, name))
                for name in ("categories", "leave_out", "others")
            },
        )
    except TableError as error:
        raise SettingsError(f"--{error}") from error
    from dualview.tabular.comparing.comparison import compare_table

    with told_if_interrupted("nothing was written"):
        found = compare_table(options.data, options.target, settings, Terminal())
    print(result_text(found))
    numbers = found.write_numbers(page.with_suffix(".json"))
    print(f"\nPage:    {found.write_page(page)}\nNumbers: {numbers}")
    return 0


def result_text(found: TableComparison) -> str:
    """The scores, an estimator on a line, and the tree's fidelity."""
    from dualview.tabular.comparing.report import score_text, spread_text

    table, measure = found.table, found.measure
    what = "classes" if table.classification else "numbers"
    lines = [
        f"{table.target_name} ({what}), {len(table.target):,} rows: {measure}",
        "",
        f"{'':<18}{found.settings.folds} folds{'':<9}held out",
    ]
    for one in found.scores:
        spread = spread_text(one.folds, measure)
        lines.append(f"{one.name:<18}{spread:<16}{score_text(one.held_out, measure)}")
    alike = score_text(found.fidelity, measure)
    lines += ["", f"The tree of {found.tree.n_leaves} leaves says what the DLGN says: {alike}"]
    if table.left_out:
        gone = "; ".join(f"{name} ({why})" for name, why in table.left_out)
        lines.append(f"Not used: {gone}")
    return "\n".join(lines)
