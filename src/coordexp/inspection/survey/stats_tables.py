"""What was counted, as tables for the terminal and the page."""

from coordexp.inspection.survey.stats import FileStats, Spread
from coordexp.viewing.elements import Sheet

DESCS_SHOWN = 20


def sheets(stats: FileStats) -> list[Sheet]:
    """Return every table; the two of classes that are asked for come last, where there are any."""
    asked = [] if stats.class_mix is None else stats.class_mix.sheets()
    return [_spreads(stats), _packs(stats), _sizes(stats), _descs(stats), *asked]


def too_long(stats: FileStats) -> str:
    """Return how many examples are over the limit, in words."""
    if stats.limit is None:
        return "no limit is set (training.global_max_length)"
    share = stats.too_long / len(stats.lengths)
    return f"{stats.too_long:,} ({share:.2%}) over global_max_length {stats.limit:,}"


def _spreads(stats: FileStats) -> Sheet:
    rows = []
    for name, values in (("tokens", stats.lengths), ("objects", stats.objects)):
        spread = Spread.of(values)
        figures = (spread.p50, spread.p95, spread.p99, spread.most, sum(values))
        rows.append([name, f"{spread.mean:,.1f}", *(f"{figure:,}" for figure in figures)])
    head = ["of one image", "mean", "p50", "p95", "p99", "most", "in all"]
    bound = "" if stats.class_mix is None else "; tokens with the longest list of classes"
    return Sheet(f"{len(stats.lengths):,} records; {too_long(stats)}{bound}", head, rows)


def _packs(stats: FileStats) -> Sheet:
    rows = [
        [
            f"{fill.capacity:,}" + (" (the limit)" if fill.capacity == stats.limit else ""),
            f"{fill.packs:,}",
            f"{fill.fill:.1%}",
            f"{fill.too_long:,}",
        ]
        for fill in stats.pack_fills()
    ]
    head = ["tokens of a pack", "packs", "filled", "examples too long"]
    return Sheet("Packing, estimated in the order of the file", head, rows)


def _sizes(stats: FileStats) -> Sheet:
    boxes, every = max(1, len(stats.box_px)), max(1, stats.kinds.total())
    rows = [
        *([name, f"{n:,}", f"{n / boxes:.1%}"] for name, n in stats.sizes().items()),
        *([name, f"{n:,}", f"{n / every:.1%}"] for name, n in stats.kinds.most_common()),
    ]
    if stats.untaught:
        rows.append(["crowds and ignored, beside these: never taught", f"{stats.untaught:,}", ""])
    title = (
        "Bounding boxes by COCO's areas (small below 32 x 32 pixels, large above 96 x 96), kinds"
    )
    return Sheet(title, ["objects", "number", "share"], rows)


def _descs(stats: FileStats) -> Sheet:
    total = max(1, stats.descs.total())
    shown = stats.descs.most_common(DESCS_SHOWN)
    rows = [[desc, f"{number:,}", f"{number / total:.1%}"] for desc, number in shown]
    left = len(stats.descs) - len(shown)
    if left:
        rest = total - sum(number for _, number in shown)
        rows.append([f"{left:,} more", f"{rest:,}", f"{rest / total:.1%}"])
    return Sheet(f"{len(stats.descs):,} different descs", ["desc", "number", "share"], rows)
