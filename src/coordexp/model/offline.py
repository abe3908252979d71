"""Whether the network may be used: not by libraries of their own accord, only where a user asks.

The command line forbids it to all libraries below. Who names a model of a hub has asked, unless the
user's own environment says otherwise; so it must be known who has forbidden it.
"""

import os
from typing import Final

_LIBRARIES: Final = "HF_HUB_OFFLINE"
_USERS: Final = (_LIBRARIES, "TRANSFORMERS_OFFLINE")
_BY_DEFAULT: Final = "COORDEXP_OFFLINE_BY_DEFAULT"


def forbid_network() -> None:
    """Forbid the libraries the network, in this process and those that it starts.

    `huggingface_hub` looks when it is imported, so this comes first. What a user has set stays.
    """
    if not any(name in os.environ for name in _USERS):
        os.environ[_BY_DEFAULT] = "1"
    os.environ.setdefault(_LIBRARIES, "1")


def is_forbidden_by_default() -> bool:
    """Return whether `forbid_network` has forbidden it, and not the user."""
    return _BY_DEFAULT in os.environ
