"""A model card: what was measured, and beside it what only a person can say.

The measured half is generated, so it cannot drift from the evidence; the human half
is asked for, never invented.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from interlock.define.definitions import Model
from interlock.models.compare import Comparison, Scores
from interlock.models.dataset import Manifest
from interlock.models.kpi import KpiComparison
from interlock.models.nulls import NullReport

MISSING = "*Not written yet.*"


@dataclass(frozen=True)
class CardEvidence:
    """What is known of one trained version; parts that were not measured say so on the card."""

    artifact: str
    manifest: Manifest
    importance: Mapping[str, float] = field(default_factory=dict)
    comparison: Comparison | None = None
    nulls: NullReport | None = None
    kpis: Mapping[str, KpiComparison] = field(default_factory=dict)


def unwritten(model: Model) -> tuple[str, ...]:
    """The human fields that are still empty; policy refuses a release while there are any."""
    fields = {"intended_use": model.card.intended_use, "limits": model.card.limits}
    return tuple(name for name, text in fields.items() if not text.strip())


def card(model: Model, evidence: CardEvidence) -> str:
    """The card as Markdown."""
    parts = [
        [f"# Model card: {model.model}", "", model.description or MISSING],
        _section("Intended use", [model.card.intended_use.strip() or MISSING]),
        _section("Limits", [model.card.limits.strip() or MISSING]),
        _section("Identity", _identity(model, evidence)),
        _section("Training data", _data(evidence.manifest)),
        _section("Inputs", _inputs(evidence)),
        _section("Compared with the incumbent", _comparison(evidence.comparison)),
        _section("Slices", _slices(evidence.comparison)),
        _section("Effect on services", _services(evidence.kpis)),
        _section("When features are missing", _missing(evidence.nulls)),
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}", "", *(lines or ["Not measured."])]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]


def _identity(model: Model, evidence: CardEvidence) -> list[str]:
    return [
        f"- owner: {model.owner}",
        f"- artifact: `{evidence.artifact}`",
        f"- dataset: `{evidence.manifest.digest}`",
        f"- trained by: `{model.training.entry}`, seed {model.training.seed}",
    ]


def _data(manifest: Manifest) -> list[str]:
    lines = [
        f"{manifest.rows} rows from {manifest.start} to {manifest.end}, "
        f"{manifest.positives} positive; labels known by {manifest.labels_known_by} "
        f"({manifest.maturity:.1%} of the rows of that interval had one).",
        "",
    ]
    rows = [(f"`{s.ref}`", f"`{s.fingerprint[:12]}`", s.watermark or "-") for s in manifest.sources]
    return [*lines, *_table(("source", "version", "newest row"), rows)]


def _inputs(evidence: CardEvidence) -> list[str]:
    nulls, rows = evidence.manifest.nulls, evidence.manifest.rows
    ranked = sorted(evidence.manifest.inputs, key=lambda n: (-evidence.importance.get(n, 0), n))
    return _table(
        ("input", "share of gain", "missing in training"),
        [
            (f"`{n}`", f"{evidence.importance.get(n, 0):.1%}", _portion(nulls.get(n), rows))
            for n in ranked
        ],
    )


def _portion(count: int | None, rows: int) -> str:
    return "unknown" if count is None or not rows else f"{count / rows:.1%}"


def _comparison(found: Comparison | None) -> list[str]:
    if found is None or found.old is None or found.new is None:
        return []
    rows = [
        (name, f"{getattr(found.old, key):.4f}", f"{getattr(found.new, key):.4f}")
        for name, key in _MEASURES
    ]
    table = _table(("measure", "incumbent", "this model"), rows)
    return [f"Verdict: **{found.verdict}**.", "", *table, "", *(f"- {s}" for s in found.sentences)]


_MEASURES = (
    ("log-loss", "log_loss"),
    ("AUC", "auc"),
    ("ECE", "ece"),
    ("Brier score", "brier"),
    ("calibration slope", "slope"),
    ("mean score", "mean"),
)
assert all(key in Scores.__dataclass_fields__ for _, key in _MEASURES)


def _slices(found: Comparison | None) -> list[str]:
    if found is None or not found.slices:
        return []
    rows = [
        (
            one.name,
            str(one.n),
            str(one.positives),
            f"{one.relative.value:+.1%}" if one.relative else "-",
            one.standing,
        )
        for one in found.slices
    ]
    return _table(("slice", "rows", "positive", "log-loss", "standing"), rows)


def _services(kpis: Mapping[str, KpiComparison]) -> list[str]:
    return [f"- {name}: **{kpi.verdict}**. {kpi.sentence}" for name, kpi in sorted(kpis.items())]


def _missing(found: NullReport | None) -> list[str]:
    if found is None:
        return []
    return [
        f"Verdict: **{found.verdict}**.",
        "",
        *(f"- {r.verdict}: {r.sentence}" for r in found.rehearsals),
    ]
