"""From results to files: tables, picture, and the page with the verdict, of a comparison and of a trade-off."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from . import front
from .figures import comparison_figure, front_figure
from .frames import Frame
from .page import Block, Heading, Items, Paragraph, Picture, Table, write_page
from .plan import Plan, Run
from .rows import ROW_KINDS
from .runner import Outcome
from .tables import cells, every_score, has_observed_share, load_predictions, number, short_table, write_csv
from .verdict import Finding, claimed_rows, findings, in_words, summary, what_would_change


def write_comparison(plan: Plan, runs: Sequence[Run], outcome: Outcome, out: Path) -> tuple[Frame, list[Path]]:
    """Write `scores.csv`, `table.csv`, `differences.csv`, `comparison.png`, `report.md` and `report.html`.

    Returns the short table (`tables.short_table`) and the files.

    Raises:
        ValueError: no run has a result.
    """
    _require_results(outcome)
    predictions = load_predictions(runs, outcome.results, out / "runs")
    scores = every_score(runs, outcome.results, out / "runs")
    short = short_table(scores, predictions)
    found = findings(plan, predictions)
    files = [write_csv(out / "scores.csv", scores), write_csv(out / "table.csv", short)]
    files.append(write_csv(out / "differences.csv", _differences(found)))
    subject, _ = claimed_rows(plan, list(dict.fromkeys(short["row"])))
    lengths = {split.name: split.held_out.weeks for split in plan.splits if split.held_out.weeks is not None}
    figure = comparison_figure(scores, short, lengths, subject)
    blocks: list[Block] = [Heading("Comparison of models"), Paragraph(summary(found, plan.claim.row), lead=True)]
    blocks += _claims(plan, found)
    blocks.append(Picture(figure, "comparison.png", "NSE of test half-hours: open circles are seeds, bars their mean"))
    for split in dict.fromkeys(short["split"]):
        blocks += [
            Heading(f"Split {split}"),
            Paragraph(_what_is_held_out(plan, split)),
            Table(*cells(short[short["split"] == split])),
        ]
    blocks.append(
        Paragraph(
            "NSE of measured half-hours of the test part, mean ± standard deviation over the seeds (in brackets: of the mean of "
            "the seeds' predictions). Fluxes without a number are not modelled by that row. Other scales, periods and scores: "
            "scores.csv."
        )
    )
    if any(has_observed_share(datasets[0]) for datasets in predictions.values()):
        blocks.append(Paragraph("LE and H of models with an observed share are scored as the tower sees them."))
    blocks += _how(plan, runs, outcome)
    return short, [*files, *write_page(blocks, out)]


def write_tradeoff(plan: Plan, runs: Sequence[Run], outcome: Outcome, out: Path) -> tuple[Frame, list[Path]]:
    """Write `points.csv`, `fronts.csv`, `front.png`, `report.md` and `report.html`; returns the figures of merit and the files.

    Raises:
        ValueError: no run has a result.
    """
    _require_results(outcome)
    predictions = load_predictions(runs, outcome.results, out / "runs")
    table = front.points(runs, outcome.results, predictions)
    merit = front.figures_of_merit(table)
    files = [write_csv(out / "points.csv", table), write_csv(out / "fronts.csv", merit)]
    rows = list(dict.fromkeys(table["row"]))
    subject, others = claimed_rows(plan, rows)
    head, body = _merit_cells(merit)
    blocks: list[Block] = [
        Heading("Trade-off between LE and NEE"), Paragraph(_tradeoff_words(merit, subject, others), lead=True),
        Picture(front_figure(table), "front.png", "Normalised errors of LE and NEE, test part"), Table(head, body),
        Paragraph(
            "Errors are RMSE over the standard deviation of the observations. HV: area between the points and a reference, over "
            "the square of the reference; a perfect model has 1. `chosen`: of the weights on the front of the validation part "
            "alone. Mean ± standard deviation over the seeds. Knee: the weight nearest to the ideal point on the validation part."
        ),
    ]  # fmt: skip
    counts = [
        [row, than, *(str(n) for n in front.matched(table, row, than).values())] for row in subject for than in others
    ]
    if counts:
        blocks += [
            Heading("Weight by weight"), Table(["row", "against", "both better", "LE only", "NEE only", "neither"], counts),
            Paragraph("Numbers of weights and seeds that both rows have, test part."),
        ]  # fmt: skip
    blocks += _how(plan, runs, outcome)
    return merit, [*files, *write_page(blocks, out)]


def _require_results(outcome: Outcome) -> None:
    if not outcome.results:
        name, text = next(iter(outcome.failed.items()), ("", "there is no run"))
        raise ValueError(f"no run has a result. {name}: {text}")


def _claims(plan: Plan, found: Sequence[Finding]) -> list[Block]:
    if not found:
        return []
    return [
        Heading("What it rests on"),
        Items([f"{in_words(f, plan.bootstrap)} What would change it: {what_would_change(f)}" for f in found]),
        *_few_seeds(found),
        Paragraph(
            f"Intervals: {plan.bootstrap.samples} drawings of blocks of {plan.bootstrap.block_days} days of the test part, the "
            "same for both rows, and of seeds of each row, with replacement. Half-hours that count in both rows are used."
        ),
    ]


def _few_seeds(found: Sequence[Finding]) -> list[Block]:
    few = [f.seeds for f in found if f.seeds is not None and f.seeds < 3]
    if not few:
        return []
    seeds = "1 seed" if min(few) == 1 else f"{min(few)} seeds"
    return [Paragraph(f"Some rows have {seeds} only: what other seeds would give is hardly in the intervals.")]


def _differences(found: Sequence[Finding]) -> Frame:
    rows = []
    for f in found:
        d = f.difference
        rows.append({
            "split": f.split, "flux": f.flux, "row": f.row, "than": f.than, "answer": f.answer, "NSE_row": d.nse_a,
            "NSE_than": d.nse_b, "difference": d.difference, "lower": d.lower, "upper": d.upper, "n": d.n, "days": d.days,
            "seeds_row": d.seeds[0], "seeds_than": d.seeds[1], "sd_by_seeds": d.by_seeds, "sd_by_days": d.by_days,
        })  # fmt: skip
    names = ["split", "flux", "row", "than", "answer"]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=names)


def _what_is_held_out(plan: Plan, name: str) -> str:
    split = next(s for s in plan.splits if s.name == name)
    held = split.held_out
    share = f"{held.share:.0%}" if held.share is not None else {"hot": "20%"}.get(held.kind, "10%")
    text = {
        "time": "The test part is the test record, or the end of the record.",
        "weeks": f"The test part is that of the split by time; {held.weeks or 0:g} weeks before it train and choose.",
        "dry_year": "The test part is the year with the lowest mean soil water.",
        "hot": f"The test part is the {share} of the weeks with the highest mean air temperature.",
        "dry_air": f"The test part is the {share} of the days with the highest vapour pressure deficit in daylight.",
        "dry_soil": f"The test part is the {share} of the days with the lowest soil water.",
        "dry": f"The test part is the {share} of the days with the driest air, and the {share} with the driest soil.",
        "tower": f"The test part is the whole record of {', '.join(held.towers)}.",
    }[held.kind]
    purge = split.purge_days if split.purge_days is not None else plan.base["data"].get("purge_days", 0.0)
    return f"{text} Gap between the parts: {purge:g} days."


def _how(plan: Plan, runs: Sequence[Run], outcome: Outcome) -> list[Block]:
    first = next(iter(outcome.results.values()))
    texts = [
        f"Half-hours of the first run: {', '.join(f'{n} {part}' for part, n in first['half_hours'].items())}.",
        f"Seeds {', '.join(map(str, plan.seeds))}; rows that do not depend on the seed run once.",
        "Weights are those with the smallest loss on the validation part; the test part is looked at once, at the end.",
        "Versions: " + ", ".join(f"{name} {number}" for name, number in first["versions"].items()) + ".",
    ]
    unconverged = {name: r["not_converged"] for name, r in outcome.results.items() if r["not_converged"]}
    if unconverged:
        texts.append(
            "Half-hours that did not converge, and are left out: "
            + ", ".join(f"{k}: {v}" for k, v in unconverged.items())
        )
    blocks: list[Block] = [
        Heading("Rows"),
        Table(["row", "kind"], [[name, ROW_KINDS[row.kind].meaning] for name, row in plan.rows.items()]),
        Heading("How"), Items(texts),
    ]  # fmt: skip
    if outcome.failed:
        texts = [f"{name}: {text}" for name, text in outcome.failed.items()]
        blocks += [Heading(f"{len(outcome.failed)} of {len(runs)} runs failed and are missing above"), Items(texts)]
    return blocks


def _merit_cells(merit: Frame) -> tuple[list[str], list[list[str]]]:
    columns = [f"{name} {part}" for name in front.REFERENCES for part in ("val", "test", "test, chosen")]
    columns += ["rho_LE", "rho_NEE", "knee distance"]
    body = []
    for row, group in merit.groupby("row", sort=False):
        line = [str(row), " ".join(dict.fromkeys(f"{w:g}" for w in group["knee"] if pd.notna(w)))]
        for column in columns:
            text = number(group[column].mean())
            line.append(f"{text} ± {number(group[column].std())}" if len(group) > 1 and text else text)
        body.append([*line, str(len(group))])
    return ["row", "knee", *columns, "seeds"], body


def _tradeoff_words(merit: Frame, subject: Sequence[str], others: Sequence[str]) -> str:
    column = "HV(1.5, 1.5)/2.25 test, chosen"
    sentences = []
    for row in subject:
        own = merit.loc[merit["row"] == row, column]
        for than in others:
            other = merit.loc[merit["row"] == than, column]
            a, b = own.mean(), other.mean()
            if pd.isna(a) or pd.isna(b):
                continue
            words = "larger than" if a > b else "not larger than"
            apart = own.min() > other.max() or own.max() < other.min()
            seeds = min(len(own), len(other))
            how = (
                "one seed of a row does not say how sure that is"
                if seeds < 2
                else ("no seed of one is within those of the other" if apart else "their seeds overlap, so it is open")
            )
            sentences.append(f"The hypervolume of {row}, {a:.3f}, is {words} that of {than}, {b:.3f}: {how}.")
    return " ".join(sentences) or "There is one row alone, and nothing to compare it with."
