"""The answer to a claim: is a row better than others, how sure is that, and what would change it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from .bootstrap import Difference, daily_sums, paired_difference
from .plan import Bootstrap, Plan
from .tables import Predictions

Answer = Literal["yes", "no", "open"]


class Finding(NamedTuple):
    """A row against another one, in one flux on one split; `seeds`: the fewest of a row that depends on them, else None."""

    split: str
    flux: str
    row: str
    than: str
    difference: Difference
    seeds: int | None = None

    @property
    def answer(self) -> Answer:
        """`yes` if the whole interval is above zero, `no` if it is below, else `open`."""
        if self.difference.lower > 0.0:
            return "yes"
        return "no" if self.difference.upper < 0.0 else "open"


def claimed_rows(plan: Plan, labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """Rows that are claimed to be better, and those they are compared with, of those that have results (`labels`)."""
    of_plan = plan.labels()

    def named(names: Sequence[str]) -> list[str]:
        return [label for label in labels if label in names or of_plan.get(label) in names]

    if plan.claim.row is not None:
        subject = named([plan.claim.row])
    else:
        hybrids = [name for name, row in plan.rows.items() if row.kind == "hybrid"]
        subject = named(hybrids[:1]) or list(labels[-1:])
    others = [label for label in labels if label not in subject]
    return subject, others if plan.claim.than is None else [x for x in named(plan.claim.than) if x not in subject]


def findings(plan: Plan, predictions: Predictions) -> list[Finding]:
    """What the claim of a plan comes to, for every split, flux and row that it is compared with."""
    labels = list(dict.fromkeys(label for label, _ in predictions))
    subject, others = claimed_rows(plan, labels)
    of_plan = plan.labels()
    result = []
    for split in dict.fromkeys(split for _, split in predictions):
        for flux in plan.claim.fluxes:
            for row in subject:
                for than in others:
                    a, b = predictions.get((row, split)), predictions.get((than, split))
                    if a and b and all(flux in p and f"{flux}_observed" in p for p in (a[0], b[0])):
                        difference = paired_difference(daily_sums(a, b, flux), **plan.bootstrap.model_dump())
                        random = [
                            n
                            for label, n in zip((row, than), difference.seeds, strict=True)
                            if plan.rows[of_plan[label]].what.random
                        ]
                        result.append(Finding(split, flux, row, than, difference, min(random, default=None)))
    return result


def in_words(finding: Finding, settings: Bootstrap) -> str:
    """One sentence with the numbers that it rests on."""
    d = finding.difference
    answer = {
        "yes": f"{finding.row} is better than {finding.than}",
        "no": f"{finding.row} is worse than {finding.than}",
        "open": f"it is open whether {finding.row} is better than {finding.than}",
    }[finding.answer]
    return (
        f"In {finding.flux} on the split {finding.split}, {answer}: NSE {d.nse_a:.3f} against {d.nse_b:.3f}, difference "
        f"{d.difference:+.3f} ({settings.level:.0%} interval {d.lower:+.3f} to {d.upper:+.3f})."
    )


def what_would_change(finding: Finding) -> str:
    """What the answer hangs on: seeds, length of the test part, or neither."""
    d = finding.difference
    texts = []
    if finding.answer == "open":
        half = 0.5 * (d.upper - d.lower)
        if abs(d.difference) > 0.05 * half:
            longer = max(2, math.ceil((half / abs(d.difference)) ** 2))
            what = "seeds" if d.by_seeds > d.by_days else "days of test data"
            texts.append(f"if the difference is real, about {longer} times as many {what} would show it")
        else:
            texts.append("the difference is nothing beside its interval, so more data would hardly settle it")
    else:
        margin = d.lower if finding.answer == "yes" else -d.upper
        texts.append(f"a change of {margin:.3f} in the NSE of one of the two would make it open")
    if d.by_seeds > d.by_days:
        texts.append("seeds differ more than weeks do, so it hangs on the training")
    return "; ".join(texts) + "."


def summary(found: Sequence[Finding], claimed: str | None = None) -> str:
    """How often the answer is which, in words; `claimed` is the row that the configuration names."""
    if not found and claimed is not None:
        return f"{claimed}, the row of the claim, has no results here beside those of another row, so the claim is not judged."
    if not found:
        return "There is nothing to compare: fewer than two rows have results in a flux of the claim."
    counts = {answer: sum(f.answer == answer for f in found) for answer in ("yes", "no", "open")}
    row = ", ".join(dict.fromkeys(f.row for f in found))
    fluxes = " and ".join(dict.fromkeys(f.flux for f in found))
    lead = "holds" if counts["yes"] == len(found) else "does not hold" if not counts["yes"] else "holds in part"
    return (
        f"The claim that {row} is better than the other rows in {fluxes} {lead}: of {len(found)} comparisons it is better in "
        f"{counts['yes']}, worse in {counts['no']}, and {counts['open']} are open."
    )
