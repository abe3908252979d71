"""What `coordexp` offers at its top level."""

import inspect
import subprocess
import sys

import pytest

import coordexp
from coordexp.coord_tokens.specification import is_coord_token
from coordexp.integrations.ms_swift.template import apply_coord_template_adapter
from coordexp.model.coord_offset import install_coord_offset_adapter, reattach_coord_offset_hooks
from coordexp.training.loop.trainer import CoordSoftCEW1LossMixin


@pytest.mark.parametrize("name", sorted({*coordexp.__all__} - {"__version__"}))
def test_every_public_name_is_there_and_says_what_it_does(name: str) -> None:
    assert inspect.getdoc(getattr(coordexp, name))


def test_the_specification_s_names_are_public() -> None:
    assert coordexp.is_coord_token is is_coord_token
    assert coordexp.CoordSoftCEW1LossMixin is CoordSoftCEW1LossMixin
    assert coordexp.apply_coord_template_adapter is apply_coord_template_adapter
    assert coordexp.install_coord_offset_adapter is install_coord_offset_adapter
    assert coordexp.reattach_coord_offset_hooks is reattach_coord_offset_hooks


def test_a_name_that_is_not_public_is_missing_as_usual() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'is_cord_token'"):
        _ = coordexp.is_cord_token


def test_importing_it_and_its_codec_does_not_wait_for_torch() -> None:
    code = (
        "import sys, coordexp; assert coordexp.is_coord_token('<|coord_7|>'); "
        "assert not {'torch', 'transformers', 'numpy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
