"""The whole of `coordexp predict`: load, ask, write."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from coordexp.answers.class_filter import asked_classes
from coordexp.errors import InputError
from coordexp.files import check_new_file
from coordexp.inference.run.ask import STOPPED_FREELY, EncodedQuestions
from coordexp.inference.run.coco_results import write_coco_results
from coordexp.inference.run.http_backend import ask_server, check_server_options
from coordexp.inference.run.inputs import load_source, longest_prompt
from coordexp.inference.run.options import PredictOptions
from coordexp.inference.run.parts import is_begun
from coordexp.inference.run.predict import AnswerFile, Summary, answer_file, predict_file
from coordexp.inference.run.predictor import (
    load_encoder,
    load_predictor,
    load_style,
    trained_classes,
)
from coordexp.inference.run.ranks import Ranks, launched_ranks
from coordexp.inference.run.stock_model import classes_to_ask
from coordexp.inference.run.vllm_backend import load_vllm_ask
from coordexp.inference.run.vllm_engine import MAX_MODEL_LEN, check_merged


def run_predict(model: Path, data: Path, out: Path, options: PredictOptions) -> Summary | None:
    """Write predictions; None on every rank but the first.

    Raises:
        InputError: If the options do not go together, the data cannot be used, or what is to be
            written is there already and may not be overwritten.
        CheckpointError: If the model cannot be.
    """
    _check_backend(model, options)
    if not is_begun(out):  # else this goes on with what may be replaced
        for file in filter(None, (out, options.coco)):
            check_new_file(file, overwrite=options.overwrite)
    trained = trained_classes(model)
    if options.rows.classes is not None:
        asked = asked_classes(options.rows.classes, trained)
        options = replace(options, rows=replace(options.rows, classes=asked))
    asked_for = classes_to_ask(model, data, options.rows.classes)

    def write_coco(summary: Summary) -> None:
        if options.coco is not None:
            alphabet = load_style(model).alphabet
            write_coco_results(out, data, summary.indices, options.coco, alphabet, trained or ())

    with launched_ranks() as ranks:
        if options.backend == "vllm":
            summary = _ask_vllm(model, asked_for, data, out, options, ranks, write_coco)
        elif options.backend == "http":
            summary = ask_server(model, data, out, options, ranks, write_coco)
        else:
            predictor = load_predictor(model, classes=asked_for)
            summary = predict_file(predictor, data, out, options, ranks=ranks, then=write_coco)
        return summary if ranks.rank == 0 else None


def _check_backend(model: Path, options: PredictOptions) -> None:
    if (options.url is None) != (options.backend != "http"):
        raise InputError("--backend http and --url go together: the server that is asked")
    if options.asking.stop is not None and options.backend != "hf":
        raise InputError(STOPPED_FREELY)
    if options.backend == "http":
        check_server_options(options.asking)
    if options.backend == "vllm":
        check_merged(model)
    elif options.engine:
        raise InputError("--engine is what vLLM's engine is told: give --backend vllm too")


def _ask_vllm(
    model: Path,
    asked_for: Sequence[str],
    data: Path,
    out: Path,
    options: PredictOptions,
    ranks: Ranks,
    then: Callable[[Summary], None],
) -> Summary:
    encoder, vocab = load_encoder(model, classes=asked_for)
    longest = 0  # of no use where the user says it, and a large folder takes long to look through
    if MAX_MODEL_LEN not in options.engine:
        longest = longest_prompt(
            load_source(data, encoder.style.alphabet, prompt=options.prompt), encoder
        )
    ask = load_vllm_ask(
        model, encoder, vocab, options.asking, engine=options.engine, longest_prompt=longest
    )
    questions = EncodedQuestions(encoder, with_patches=False)
    files = AnswerFile(questions, data, out, model=str(model.resolve()), then=then)
    return answer_file(ask, files, options, ranks=ranks)
