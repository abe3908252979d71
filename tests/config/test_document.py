from pathlib import Path

from coordexp.config.document import document
from coordexp.config.problems import known_keys
from coordexp.config.schema import Config

PAGE = Path(__file__).parents[2] / "docs" / "config.md"


def test_the_page_is_not_stale() -> None:
    message = "run: python -m coordexp.config.document > docs/config.md"
    assert PAGE.read_text(encoding="utf-8") == document(), message


def test_every_key_is_on_the_page_with_its_meaning() -> None:
    page = document()
    for key in known_keys(Config):
        name = key.rpartition(".")[2]
        assert f"`{name}`" in page or f"`{key}`" in page or "{start, end}" in page, key
    assert "|  |" not in page
