"""How predictions are made, as one value from the command line to the loop."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from coordexp.answers.prediction_lines import RowOptions
from coordexp.inference.run.ask import AskOptions
from coordexp.inference.run.vllm_engine import ROOM

Backend = Literal["hf", "vllm", "http"]

BATCH_SIZES: Mapping[Backend, int] = {"hf": 8, "vllm": 128, "http": 8}
"""Images at once, where nothing is said. vLLM makes batches of its own from what it is given: with
8 it took half as long again as with 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """How predictions are made.

    Args:
        batch_size: Images at once; with `http` requests under way.
        asking: How the model is asked.
        rows: What becomes of an answer.
        backend: What runs the model.
        coco: Where COCO results go, None for nowhere.
        engine: What vLLM's engine is told besides, by name.
        overwrite: Whether the predictions and `coco` may be there already.
        url: Of the server, for `http`.
        prompt: Asks this of pictures without records; None for what the model was trained on.
    """

    batch_size: int
    asking: AskOptions
    rows: RowOptions
    backend: Backend = "hf"
    coco: Path | None = None
    engine: Mapping[str, object] = field(default_factory=dict)
    overwrite: bool = False
    url: str | None = None
    prompt: str | None = None

    def identity(self) -> dict[str, object]:
        """Return all that the lines depend on, as JSON values.

        A run that was stopped is gone on with only where this is the same. The size of a batch is
        not in it, nor how much room vLLM is given, nor where COCO results go.
        """
        asking = self.asking.to_json()
        if self.backend == "vllm":
            del asking["ordered"]  # its grammar cannot say that
            engine = {name: value for name, value in self.engine.items() if name not in ROOM}
            asking = {"backend": "vllm", **asking, **({"engine": engine} if engine else {})}
        if self.backend == "http":  # the server decides on all else
            said = {
                "max_new_tokens": self.asking.max_new_tokens,
                "constrain": self.asking.constrain,
            }
            asking = {"backend": "http", **said}
        told = {} if self.prompt is None else {"prompt": self.prompt}
        return {**asking, **self.rows.to_json(), **told}
