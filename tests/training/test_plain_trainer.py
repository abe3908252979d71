import runpy
from pathlib import Path

import pytest
import torch

EXAMPLE = Path(__file__).parents[2] / "examples" / "plain_trainer.py"


@pytest.mark.slow
def test_the_mixin_works_in_a_plain_trainer(
    tiny_expanded: Path, scenes: Path, tmp_path: Path
) -> None:
    trainer = runpy.run_path(str(EXAMPLE))["main"](tiny_expanded, scenes, tmp_path / "out")
    first, second = (row for row in trainer.state.log_history if "loss" in row)
    parts = first["base_ce/loss"] + first["coord_diag/loss"]
    assert first["loss"] == pytest.approx(parts, rel=1e-6)
    assert first["coord_diag/coord_tokens"] > 0
    assert second["step"] == 2
    moved = {name for name, value in trainer.model.named_parameters() if value.requires_grad}
    assert moved == {"model.language_model.embed_tokens.coord_offset_adapter.rows"}
    rows = trainer.model.get_input_embeddings().coord_offset_adapter.rows
    assert torch.count_nonzero(rows) > 0


def test_its_substance_fits_a_page() -> None:
    body = EXAMPLE.read_text().split("def main", 1)[1].split("if __name__", 1)[0]
    statements = compile("def main" + body, "example", "exec", flags=1024).body[0].body
    assert len(statements) < 20
