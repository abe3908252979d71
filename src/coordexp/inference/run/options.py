"""How predictions are made, as one value from the command line to the loop."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from coordexp.inference.read.prediction_lines import RowOptions
from coordexp.inference.run.ask import AskOptions

Backend = Literal["hf", "vllm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """How predictions are made.

    Args:
        batch_size: Images at once.
        asking: How the model is asked.
        rows: What becomes of an answer.
        backend: What runs the model.
        coco: Where COCO results go, None for nowhere.
        overwrite: Whether the predictions and `coco` may be there already.
    """

    batch_size: int
    asking: AskOptions
    rows: RowOptions
    backend: Backend = "hf"
    coco: Path | None = None
    overwrite: bool = False

    def identity(self) -> dict[str, object]:
        """Return all that the lines depend on, as JSON values.

        A run that was stopped is gone on with only where this is the same. The size of a batch is
        not in it, nor where COCO results go.
        """
        if self.backend == "vllm":  # knows no grammar
            asking: dict[str, object] = {
                "backend": "vllm",
                "max_new_tokens": self.asking.max_new_tokens,
            }
        else:
            asking = asdict(self.asking)
        return {**asking, **self.rows.to_json()}
