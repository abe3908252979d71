"""The whole of `coordexp predict`: load, ask, write."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from coordexp.errors import InputError
from coordexp.files import check_new_file
from coordexp.inference.read.class_filter import asked_classes
from coordexp.inference.read.prediction_lines import CoordDecode, RowOptions, ScoreMap
from coordexp.inference.run.coco_results import write_coco_results
from coordexp.inference.run.parts import is_begun
from coordexp.inference.run.predict import Summary, answer_file, predict_file
from coordexp.inference.run.predictor import load_encoder, load_predictor
from coordexp.inference.run.ranks import Ranks, launched_ranks
from coordexp.inference.run.vllm_backend import load_vllm_ask
from coordexp.model.card import load_card_section, load_trained_classes
from coordexp.rendering.style import style_from_json


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What `coordexp predict` was told.

    Args:
        batch_size: Images at once.
        max_new_tokens: Longest answer.
        constrain: Whether answers are kept inside the grammar.
        classes: File with the descs to keep; None keeps all.
        restrict_to: File with the only descs there may be; None for any.
        ordered: Whether the grammar keeps a box's corners in order.
        coord_decode: How a coordinate is read.
        dedup_iou: Overlap from which an object repeats another; None keeps all.
        score_map: Makes raw scores calibrated ones; None leaves them raw.
        coco: Where COCO results go, None for nowhere.
        backend: What runs the model.
        overwrite: Whether `out` and `coco` may be there already.
    """

    batch_size: int
    max_new_tokens: int
    constrain: bool
    classes: Path | None
    restrict_to: Path | None
    ordered: bool
    coord_decode: CoordDecode
    dedup_iou: float | None
    score_map: ScoreMap | None
    coco: Path | None
    backend: Literal["hf", "vllm"]
    overwrite: bool = False


def run_predict(model: Path, data: Path, out: Path, options: RunOptions) -> Summary | None:
    """Write predictions; None on every rank but the first.

    Raises:
        InputError: If the options do not go together, the data cannot be used, or what is to be
            written is there already and may not be overwritten.
        CheckpointError: If the model cannot be.
    """
    if options.backend == "vllm" and options.restrict_to is not None:
        raise InputError(
            "vLLM cannot be restricted: leave out --restrict-to, or use --backend hf; --classes "
            "filters what vLLM says"
        )
    if not is_begun(out):  # else this goes on with what may be replaced
        for file in filter(None, (out, options.coco)):
            check_new_file(file, overwrite=options.overwrite)
    restrict_to = None if options.restrict_to is None else read_classes(options.restrict_to)
    trained = load_trained_classes(model)
    row_options = RowOptions(
        coord_decode=options.coord_decode,
        dedup_iou=options.dedup_iou,
        score_map=options.score_map,
        classes=(
            None
            if options.classes is None
            else asked_classes(read_classes(options.classes), trained)
        ),
    )
    with launched_ranks() as ranks:
        if options.backend == "vllm":
            summary = _ask_vllm(model, data, out, options, row_options, ranks)
        else:
            summary = predict_file(
                load_predictor(model),
                data,
                out,
                batch_size=options.batch_size,
                max_new_tokens=options.max_new_tokens,
                constrain=options.constrain,
                restrict_to=restrict_to,
                ordered=options.ordered,
                row_options=row_options,
                ranks=ranks,
            )
        if ranks.rank > 0:
            return None
    if options.coco is not None:
        style = style_from_json(load_card_section(model, "style"))
        write_coco_results(out, data, summary.indices, options.coco, style.alphabet, trained or ())
    return summary


def _ask_vllm(
    model: Path, data: Path, out: Path, options: RunOptions, row_options: RowOptions, ranks: Ranks
) -> Summary:
    if options.constrain:
        raise InputError("vLLM decodes freely: give --constrain off")
    encoder, vocab = load_encoder(model)
    ask = load_vllm_ask(model, encoder, vocab, max_new_tokens=options.max_new_tokens)
    return answer_file(
        ask,
        encoder,
        data,
        out,
        batch_size=options.batch_size,
        run={
            "model": str(model.resolve()),
            "backend": "vllm",
            "max_new_tokens": options.max_new_tokens,
        },
        row_options=row_options,
        ranks=ranks,
    )


def read_classes(path: Path) -> Sequence[str]:
    """Return the lines of a text file, without empty ones.

    Raises:
        InputError: If it cannot be read or names no class.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise InputError(f"{path}: no class in it; expected one a line")
    return names
