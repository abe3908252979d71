"""What the doctor found, as a page: the verdicts, the tokens in colour, the first records drawn."""

from collections.abc import Mapping, Sequence

from coordexp.data.contract.record import Record
from coordexp.data.files.mix import Mix
from coordexp.inspection.doctor.tokens import KINDS, Looks, Token
from coordexp.inspection.doctor.verdict import CheckResult, Diagnosis, Pieces, UnbuiltError
from coordexp.inspection.survey.gallery import record_sample
from coordexp.rendering.encode import Encoder
from coordexp.viewing.report import Html, Page, Tile, paragraph, stat_tiles, table, text
from coordexp.viewing.samples import sample_block, sample_browser

_DRAWN = 8
_STYLE = """<style>
.verdicts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.verdicts td:first-of-type { width: 1%; }
.verdict { display: inline-block; min-width: 62px; padding: 1px 8px; border-radius: 9px;
  white-space: nowrap; overflow-wrap: normal;
  text-align: center; font-size: 13px; font-weight: 600; color: #fff; }
.verdict.green { background: #0b7f5f; } .verdict.yellow { background: #8f6200; }
.verdict.red { background: #b3261e; }
.verdicts small { display: block; }
.tokens { max-height: none; line-height: 2; }
.tokens span { padding: 1px 2px; border-radius: 3px; box-shadow: 0 0 0 1px var(--rule); }
.prompt { color: var(--soft); } .picture { color: var(--c0); }
.text { background: rgb(11 154 116 / 20%); } .coord { background: rgb(245 52 127 / 24%); }
.end { background: rgb(217 102 43 / 30%); }
</style>"""


def doctor_page(diagnosis: Diagnosis, *, name: str) -> Page:
    """Return the page.

    Args:
        diagnosis: What was found.
        name: Of the configuration.
    """
    page = Page(title="Before the run", subtitle=f"What coordexp doctor found in {name}.")
    page.add("Verdicts", Html(_STYLE), _tiles(diagnosis), _verdicts(diagnosis.findings))
    try:
        looks = diagnosis.pieces.take(Looks)
        page.add(f"{looks.place}, token by token", _legend(), _tokens(looks.transcript))
    except UnbuiltError:
        page.add("Token by token", paragraph("Not to be had; the verdicts say why."))
    page.add("The first records", _records(diagnosis.pieces))
    sheets = [sheet for finding in diagnosis.findings.values() for sheet in finding.sheets]
    tables = [table(sheet.head, sheet.rows, caption=sheet.title) for sheet in sheets]
    return page.add("Figures", *tables)


def _tiles(diagnosis: Diagnosis) -> Html:
    red, yellow = diagnosis.count("red"), diagnosis.count("yellow")
    green = diagnosis.count("green")
    return stat_tiles(
        [
            Tile("Red", f"{red}", "would fail or waste the run", "warn" if red else "plain"),
            Tile("Yellow", f"{yellow}", "worth a thought"),
            Tile("Green", f"{green}", "fine", "good"),
        ]
    )


def _verdicts(findings: Mapping[str, CheckResult]) -> Html:
    rows = "".join(
        f'<tr><th scope="row">{text(name)}</th>'
        f'<td><span class="verdict {finding.verdict}">{finding.verdict}</span></td>'
        f"<td>{text(finding.found)}{_advice(finding)}</td></tr>"
        for name, finding in findings.items()
    )
    return Html(
        '<figure class="sheet verdicts"><div class="scroll" tabindex="0"><table>'
        f"<tbody>{rows}</tbody></table></div></figure>"
    )


def _advice(finding: CheckResult) -> str:
    return f"<small>What to do: {text(finding.advice)}</small>" if finding.advice else ""


def _legend() -> Html:
    keys = " ".join(
        f'<span class="{style.css}">{text(kind)}</span> {text(style.told)};'
        for kind, style in KINDS.items()
    )
    return Html(f"<p>{keys.removesuffix(';')}.</p>")


def _tokens(transcript: Sequence[Token]) -> Html:
    shown = "".join(
        f'<span class="{KINDS[token.kind].css}">{text(token.visible)}</span>'
        + (f"<small> x {token.times}</small>" if token.times > 1 else "")
        + ("\n" if token.text.endswith("\n") else "")
        for token in transcript
    )
    return Html(f'<pre class="answer tokens" tabindex="0"><code>{shown}</code></pre>')


def _records(pieces: Pieces) -> Html:
    try:
        mix, style = pieces.take(Mix), pieces.take(Encoder).style
    except UnbuiltError:
        return paragraph("Not to be had; the verdicts say why.")
    blocks, classes = [], []
    for index in range(min(len(mix), _DRAWN)):
        record = mix[index]
        if not isinstance(record, Record):
            continue
        file, line = mix.place_of(index)
        title = f"{file.name}:{line}"
        sample = record_sample(mix.root_of(index), record, style, index=index, title=title)
        blocks.append(sample_block(sample))
        classes.append(sample.classes)
    return sample_browser(blocks, classes)
