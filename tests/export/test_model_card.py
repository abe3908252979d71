from pathlib import Path

import pytest
import yaml

from coordexp.export.model_card import carried_over, write_model_card, write_trained_card
from tests.rendering.plain import PLAIN_STYLE


@pytest.mark.parametrize(
    ("card", "kept"),
    [
        ("---\nlicense: other\nlicense_name: own\nlicense_link: LICENSE\ntags: [x]\n---\n", 3),
        ("---\nlicense: mit\n", 0),
        ("# No metadata\n---\nlicense: mit\n---\n", 0),
        ("---\n- a list\n---\n", 0),
        ("---\nlicense: [\n---\n", 0),
        ("", 0),
    ],
)
def test_a_licence_is_carried_over_where_it_can_be_read(card: str, kept: int) -> None:
    assert len(carried_over(card)) == kept


def test_the_draft_says_how_to_ask_and_what_is_missing(tmp_path: Path) -> None:
    base, merged = tmp_path / "some-base", tmp_path / "merged.partial"
    base.mkdir()
    merged.mkdir()
    write_model_card(merged, base, style=PLAIN_STYLE, certificate=None)
    text = (merged / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["library_name"] == "transformers"
    assert "base_model: OWNER/NAME of some-base" in head
    assert body.startswith("\n# merged\n")
    assert "    Find every digit." in body
    assert "TODO: the licence" in body
    assert "**Not certified**" in body
    assert not (merged / "README.base.md").exists()


@pytest.mark.parametrize(
    ("adapter", "library", "use"),
    [(True, "peft", "coordexp merge PATH MODEL"), (False, "transformers", "AutoModelForImage")],
)
def test_the_draft_of_a_run_says_what_its_weights_are(
    tmp_path: Path, adapter: bool, library: str, use: str
) -> None:
    base, out = tmp_path / "some-base", tmp_path / "checkpoint-3"
    base.mkdir()
    out.mkdir()
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (out / "README.md").write_text("Provide a quick summary of what the model is/does.")
    write_trained_card(out, base, name="my-run", style=PLAIN_STYLE, adapter=adapter)
    _, head, body = (out / "README.md").read_text().split("---\n", 2)
    assert (yaml.safe_load(head)["library_name"], yaml.safe_load(head)["license"]) == (
        library,
        "apache-2.0",
    )
    assert body.startswith("\n# my-run\n")
    assert use in body
    assert "    Find every digit." in body
    assert "quick summary" not in body
