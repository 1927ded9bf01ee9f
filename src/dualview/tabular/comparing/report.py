"""The page of a comparison on a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dualview.pages.page import (
    Facts,
    Figures,
    Fold,
    Notice,
    Page,
    PageBlock,
    Panel,
    Prose,
    Row,
    Section,
    Table,
)
from dualview.pages.style import figure_svg
from dualview.tabular.comparing.figures import (
    COLOURED,
    explained_figure,
    importance_figure,
    scores_figure,
)
from dualview.tabular.figures import tree_figure
from dualview.tabular.wording import MOST_WORDS

if TYPE_CHECKING:
    from dualview.tabular.comparing.findings import Explained, TableComparison
    from dualview.tabular.comparing.folds import ModelScores

FEW_LEAVES = 3
"""Of a tree that is drawn as large as other figures; a wider one takes the whole page."""

MOST_LEAVES = 16
"""Of a tree that is drawn; a wider one cannot be read on a page."""


def page_of(found: TableComparison) -> Page:
    """What was found, as a page."""
    return Page(
        title=f"A DLGN on a table: {found.table.target_name}",
        headlines=(_headline(found), _tree_headline(found)),
        standfirst=(
            f"{len(found.table.target):,} rows of {_name(found)}, {len(found.importance)} columns "
            f"to predict {found.table.target_name} from."
        ),
        sections=(
            Section("How right it is", _scores(found)),
            Section("The tree", _tree(found)),
            Section("The columns that matter", _importance(found)),
            Section("Single predictions", _explained(found)),
            Section("How it was done", _how(found)),
        ),
    )


def score_text(value: float, measure: str) -> str:
    """A score in words.

    >>> score_text(0.9512, "accuracy"), score_text(0.512, "R²")
    ('95.1 %', '0.512')
    """
    return f"{100 * value:.1f} %" if measure == "accuracy" else f"{value:.3f}"


def spread_text(folds: tuple[float, ...], measure: str) -> str:
    """Mean and sample standard deviation over folds.

    >>> spread_text((0.9, 0.92), "accuracy")
    '91.0 ± 1.4 %'
    """
    mean, deviation = float(np.mean(folds)), float(np.std(folds, ddof=1))
    if measure == "accuracy":
        return f"{100 * mean:.1f} ± {100 * deviation:.1f} %"
    return f"{mean:.3f} ± {deviation:.3f}"


def _name(found: TableComparison) -> str:
    return found.table.where.replace("\\", "/").rpartition("/")[2]


def _headline(found: TableComparison) -> str:
    own, _, *others = found.scores
    best = max(others, key=lambda one: one.held_out)
    return (
        f"The DLGN’s {found.measure} on rows held out is "
        f"{score_text(own.held_out, found.measure)}; the best other, {_article(best)}, has "
        f"{score_text(best.held_out, found.measure)}."
    )


def _article(one: ModelScores) -> str:
    name = "linear model" if one.name == "linear" else one.name
    return name if name == "gradient boosting" else f"{'an' if name[0] == 'M' else 'a'} {name}"


def _tree_headline(found: TableComparison) -> str:
    leaves = found.tree.n_leaves
    alike = (
        f"decides as it does on {100 * found.fidelity:.1f} % of them"
        if found.table.classification
        else f"follows it with an R² of {found.fidelity:.3f}"
    )
    return f"A tree of {leaves} {'leaf' if leaves == 1 else 'leaves'}, read off its gates, {alike}."


def _scores(found: TableComparison) -> tuple[PageBlock, ...]:
    rows = tuple(
        Row(
            (
                one.name,
                spread_text(one.folds, found.measure),
                score_text(one.held_out, found.measure),
                f"{one.seconds:.2f} s",
            ),
            kind=COLOURED.get(one.name),
        )
        for one in found.scores
    )
    figure = scores_figure(found.scores, found.measure)
    table = Table(
        ("Estimator", f"{found.settings.folds} folds", "Rows held out", "Training"),
        rows,
        notes=(
            f"{found.measure.capitalize()}; of the folds mean ± sample standard "
            f"deviation. Folds share rows to learn from, so that this is no error of the mean. "
            f"All were tried on the same folds and see the same columns; the others are "
            f"scikit-learn’s, with its own settings.",
        ),
        stacks=True,
    )
    panel = Panel(
        figure_svg(figure, "scores", f"{found.measure} of every estimator"),
        "Dots: single folds. Bar: their mean. Ring: the rows held out.",
    )
    return (table, Figures((panel,)))


def _tree(found: TableComparison) -> tuple[PageBlock, ...]:
    tree = found.tree
    own, of_tree, *_ = (score_text(one.held_out, found.measure) for one in found.scores)
    facts = Facts(
        (
            ("Leaves", f"{tree.n_leaves}, {_depth(tree.depth)}"),
            (
                "Says what the network says",
                (
                    f"on {100 * found.fidelity:.1f} % of the rows held out"
                    if found.table.classification
                    else f"R² {found.fidelity:.3f} on the rows held out"
                ),
            ),
            (
                found.measure.capitalize(),
                f"{of_tree} on the rows held out; the network’s is {own}",
            ),
        )
    )
    prose = Prose(
        (
            "Each condition is a hyperplane of one of the network’s gates, weights in units of the "
            "columns divided by their spread; rows go right where it holds. It was chosen by what "
            "the network says of the rows it learnt from, not by their labels.",
        )
    )
    rules = tuple(f"{number}. {text}" for number, text in enumerate(tree.rules(MOST_WORDS), 1))
    full = Fold("Every rule with all its columns", Prose(tuple(tree.rules())))
    blocks: list[PageBlock] = [facts, prose]
    if tree.n_leaves <= MOST_LEAVES:
        svg = figure_svg(tree_figure(tree, 3), "tree", "The tree")
        caption = "Conditions name the three columns that weigh most; “…” stands for others."
        blocks.append(Figures((Panel(svg, caption),), scrolls=tree.n_leaves > FEW_LEAVES))
    return (*blocks, Prose(rules), full)


def _depth(depth: int) -> str:
    return "behind one condition" if depth == 1 else f"behind at most {depth} conditions"


def _importance(found: TableComparison) -> tuple[PageBlock, ...]:
    svg = figure_svg(importance_figure(found.importance), "columns", "The columns that matter")
    caption = (
        "Mean size of what each column adds to a score, over rows held out. What a column adds is "
        "its distance from its mean times the slope of the score in the region between hyperplanes "
        "that the row lies in; a column of text counts with all its values. This is what the "
        "network goes by, which need not be what causes the target."
    )
    rows = tuple(Row((name, f"{value:.3g}")) for name, value in found.importance)
    fold = Fold("All columns", Table(("Column", "Mean |contribution|"), rows))
    return (Figures((Panel(svg, caption),)), fold)


def _explained(found: TableComparison) -> tuple[PageBlock, ...]:
    panels = tuple(
        Panel(
            figure_svg(explained_figure(one), f"row{number}", f"Prediction of {one.place}"),
            _caption(one),
        )
        for number, one in enumerate(found.explained)
    )
    prose = Prose(
        (
            "The score of a row is, exactly, the sum of what its columns add and of what comes of "
            "biases.",
        )
    )
    return (prose, Figures(panels))


def _caption(one: Explained) -> str:
    return (
        f"{one.why[0].upper()}{one.why[1:]}: {one.place}. Predicted: {one.predicted}; in truth: "
        f"{one.true}. Score {one.score:.3g}."
    )


def _how(found: TableComparison) -> tuple[PageBlock, ...]:
    table, settings = found.table, found.settings
    drawn = len(table.target) < table.rows_found
    facts = [
        ("File", _name(found)),
        ("Rows", f"{table.rows_found:,}" + (f", {len(table.target):,} drawn" if drawn else "")),
        ("Learnt from", f"{found.rows_learnt:,} rows, in {settings.folds} folds and all together"),
        ("Held out", f"{found.rows_held_out:,} rows, for the end"),
        ("Numbers", ", ".join(table.numbers) or "none"),
        ("Categories", ", ".join(table.categories) or "none"),
        (
            "The network",
            f"{settings.kind.upper()}, {settings.depth - 1} layers of {settings.width} gates, "
            f"seed {settings.seed}; a tenth of the rows learnt from tell it when to stop",
        ),
    ]
    blocks: list[PageBlock] = [Facts(tuple(facts))]
    if table.left_out:
        blocks.append(Notice("Not used:", tuple(f"{name}: {why}" for name, why in table.left_out)))
    blocks.append(
        Prose(
            (
                "Missing numbers became the median, with a column that says so; each value of a "
                "column of text became a column, rare ones one together. The medians are of the "
                "rows learnt from alone.",
                "The rows held out chose nothing: neither columns, nor settings, nor the tree.",
            )
        )
    )
    return tuple(blocks)
