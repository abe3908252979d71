"""A page to try a model: a picture in, boxes drawn, a threshold and a filter.

On gradio, which asks its makers for news and tells them of launches unless it is told not to, and
keeps uploaded pictures in a folder for good; here it does neither, and its theme loads no fonts.
"""

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from PIL import Image

from coordexp.answers.prediction_lines import RowOptions, Scored, scored_objects
from coordexp.client.asked_model import served_name
from coordexp.data.contract.record import Record
from coordexp.errors import InputError, RecordError, install_advice
from coordexp.inference.run.ask import Ask, AskOptions, Question, build_ask
from coordexp.inference.run.predictor import Predictor, load_predictor
from coordexp.serving.address import bound_socket, url_of
from coordexp.serving.shown import ShownRow, drawn_picture, object_rows, shown_objects

_LONGEST_ANSWER = 2048
_FIRST_THRESHOLD = 0.3
_LARGEST_FILE = "32mb"

QUIET: Mapping[str, str] = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}
"""What gradio reads from the environment when it is imported."""


def serve_demo(model: Path, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Show a page until the process is told to end (SIGTERM, SIGINT).

    Args:
        model: A merged model, an adapter checkpoint or a stock model.
        host: Where it listens.
        port: 0 takes one that is free.
        ready: Is called with the page's URL.

    Raises:
        CheckpointError: If the model cannot be used.
        InputError: If gradio is not installed, or the address cannot be listened on.
    """
    gradio = import_gradio()
    with bound_socket(host, port) as bound:  # gradio would look for another port
        port = bound.getsockname()[1]
    told = threading.Event()
    before = {
        each: signal.signal(each, lambda _signal, _frame: told.set())
        for each in (signal.SIGTERM, signal.SIGINT)
    }
    with tempfile.TemporaryDirectory(prefix="coordexp-demo-") as pictures:
        os.environ["GRADIO_TEMP_DIR"] = pictures
        page = build_page(gradio, load_predictor(model), served_name(model))
        page.launch(**launch_options(host, port, gradio))
        try:
            ready(url_of(host, port))
            told.wait()
        finally:
            page.close(verbose=False)
            for each, handler in before.items():
                signal.signal(each, handler)


def import_gradio() -> Any:  # noqa: ANN401 - it is there or not, and has no types of use
    """Return gradio, kept from talking to anyone.

    Raises:
        InputError: If it is not installed.
    """
    os.environ.update(QUIET)
    try:
        return import_module("gradio")
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed; {install_advice('demo')}") from None


def launch_options(host: str, port: int, gradio: Any) -> dict[str, object]:  # noqa: ANN401
    """Return how a page is launched: on this machine alone, and nowhere else."""
    return {
        "server_name": host,
        "server_port": port,
        "share": False,
        "inbrowser": False,
        "quiet": True,
        "prevent_thread_lock": True,
        "enable_monitoring": False,
        "ssr_mode": False,
        "mcp_server": False,
        "pwa": False,
        "footer_links": [],
        "max_file_size": _LARGEST_FILE,
        # Names of fonts that the system has; gradio's own themes may come with others.
        "theme": gradio.themes.Default(
            font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
        ),
    }


def build_page(gradio: Any, predictor: Predictor, name: str) -> Any:  # noqa: ANN401
    """Return the page of a model."""
    asking = AskOptions(constrain=True, restrict_to=None, max_new_tokens=_LONGEST_ANSWER)
    ask = build_ask(predictor, asking)

    def find(picture: Image.Image | None) -> list[Scored]:
        if picture is None:
            return []
        try:
            return found_objects(predictor, ask, picture)
        except RecordError as error:
            raise gradio.Error(str(error)) from None

    def show(
        picture: Image.Image | None, found: list[Scored], least_score: float, classes: list[str]
    ) -> tuple[Image.Image | None, list[ShownRow]]:
        if picture is None:
            return None, []
        objects = shown_objects(found, least_score=least_score, classes=classes)
        return drawn_picture(picture.convert("RGB"), objects), object_rows(objects)

    with gradio.Blocks(title=f"coordexp: {name}", analytics_enabled=False) as page:
        gradio.Markdown(f"## {name}\n{predictor.style.user_prompt}")
        found = gradio.State([])
        with gradio.Row():
            # Without gradio's button that shares a picture with the world.
            picture = gradio.Image(
                type="pil",
                sources=["upload", "clipboard"],
                buttons=["fullscreen"],
                label="Picture",
            )
            drawn = gradio.Image(
                type="pil",
                interactive=False,
                buttons=["download", "fullscreen"],
                format="png",
                label="Objects",
            )
        with gradio.Row():
            threshold = gradio.Slider(0, 1, _FIRST_THRESHOLD, step=0.01, label="Least score")
            classes = gradio.Dropdown(
                choices=list(predictor.classes or ()),
                value=[],
                multiselect=True,
                allow_custom_value=True,
                label="Classes (none: all)",
            )
        table = gradio.Dataframe(
            headers=["desc", "score", "geometry", "pixels"], label="Objects", interactive=False
        )
        views = {"inputs": [picture, found, threshold, classes], "outputs": [drawn, table]}
        picture.change(find, picture, found, concurrency_limit=1).then(show, **views)
        threshold.release(show, **views)
        classes.change(show, **views)
    return page


def found_objects(predictor: Predictor, ask: Ask, picture: Image.Image) -> list[Scored]:
    """Return what a model finds in a picture.

    Raises:
        RecordError: If it cannot be looked at.
    """
    picture = picture.convert("RGB")
    width, height = picture.size
    record = Record(images=("picture",), width=width, height=height, objects=())
    encoder = predictor.encoder
    (answer,) = ask([Question(encoder.encode_prompt(record, picture), picture)])
    marks = encoder.inputs.family.end_marks
    return list(
        scored_objects(record, answer, predictor.style, RowOptions(), end_marks=marks).objects
    )
