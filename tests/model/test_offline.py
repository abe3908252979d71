"""Who has forbidden the network: the command line, or its user."""

import os

import pytest

from coordexp.model.offline import forbid_network, is_forbidden_by_default


def test_libraries_are_forbidden_what_a_user_may_still_ask_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", environment)
    assert not is_forbidden_by_default()
    forbid_network()
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert is_forbidden_by_default()
    forbid_network()  # in a process that was started by the first
    assert is_forbidden_by_default()


@pytest.mark.parametrize(
    ("name", "value"),
    [("HF_HUB_OFFLINE", "1"), ("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")],
)
def test_what_a_user_has_set_stays(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment = {name: value}
    monkeypatch.setattr(os, "environ", environment)
    forbid_network()
    assert environment[name] == value
    assert not is_forbidden_by_default()
