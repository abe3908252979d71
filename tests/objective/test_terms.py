from itertools import product

import pytest
import torch

from coordexp.config.custom import CoordSoftCEW1
from coordexp.objective import CoordTarget, CoordWeights
from coordexp.objective.backends.coord_rows import coord_values, solve_coord_terms
from coordexp.objective.terms import TERMS
from coordexp.objective.terms.coord_logits import read_coord_logits
from coordexp.objective.terms.term import Term
from tests.objective.huber import HUBER

TARGETS = [
    CoordTarget(sigma=sigma, truncate=truncate, temperature=1.0, w1_unit=unit, w1_target=goal)
    for (sigma, truncate), unit, goal in product(
        [(1.5, 3), (1e-3, None)], ["fraction", "bins"], ["soft", "one_hot"]
    )
]


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("term", [*TERMS, HUBER], ids=lambda term: term.name)
def test_the_slope_of_a_term_is_that_of_autograd(
    term: Term, target: CoordTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordexp.objective.backends.coord_rows.TERMS", [term])
    monkeypatch.setattr("coordexp.objective.contract.TERMS", [term])
    generator = torch.Generator().manual_seed(3)
    s = torch.randn(40, 9, generator=generator, dtype=torch.float64) * 3
    outer = torch.randn(40, generator=generator, dtype=torch.float64) * 3
    bins = torch.arange(40) % 9
    s.requires_grad_()
    outer.requires_grad_()
    coords = read_coord_logits(s, bins, inner=s.logsumexp(-1), outer=outer, target=target)
    value = coord_values(coords)[term.name]
    by_bin, by_outer = torch.autograd.grad(
        2.5 * value.sum(), (s, outer), materialize_grads=True, allow_unused=True
    )
    with torch.no_grad():
        solved = solve_coord_terms(coords, CoordWeights(**{term.name: 2.5}))
    torch.testing.assert_close(solved.values[term.name], value)
    torch.testing.assert_close(solved.gradient, by_bin, rtol=1e-11, atol=1e-13)
    if solved.by_outer is None:
        assert not by_outer.any()
    else:
        torch.testing.assert_close(solved.by_outer, by_outer, rtol=1e-11, atol=1e-13)
    assert (solved.by_outer is not None) == term.needs_outside


def test_every_term_has_a_weight_in_the_configuration_and_every_weight_a_term() -> None:
    keys = [key for key in CoordSoftCEW1.model_fields if key.endswith("_weight")]
    assert keys == [term.weight_key for term in TERMS]
    assert list(CoordSoftCEW1().weights) == list(CoordWeights())


@pytest.mark.parametrize("what", ["name", "metric", "label", "title"])
def test_no_two_terms_are_called_the_same(what: str) -> None:
    names = [getattr(term, what) for term in TERMS]
    assert len(set(names)) == len(names)


def test_no_term_has_the_name_of_a_figure_that_is_there_already() -> None:
    taken = {"text", "text_correct", "p_gt", "coord_mass"}
    taken |= {"loss", "coord_tokens", "enabled", "coord_vocab_mass"}
    assert not taken & {term.name for term in TERMS}


def test_weights_are_a_mapping_of_every_term() -> None:
    weights = CoordWeights(soft_ce=2.0, gate=0.5)
    assert dict(weights) == {"ce": 0.0, "soft_ce": 2.0, "w1": 0.0, "gate": 0.5}
    assert weights == CoordWeights(ce=0.0, soft_ce=2.0, w1=0.0, gate=0.5)
    assert hash(weights) == hash(CoordWeights(ce=0.0, soft_ce=2.0, w1=0.0, gate=0.5))
    assert repr(weights) == "CoordWeights(ce=0.0, soft_ce=2.0, w1=0.0, gate=0.5)"
    assert weights.teach_outside
    assert not CoordWeights(w1=1.0).teach_outside


def test_a_weight_of_no_term_is_refused() -> None:
    with pytest.raises(
        ValueError, match="no coord term is named gat; known: ce, soft_ce, w1, gate"
    ):
        CoordWeights(soft_ce=1.0, gat=1.0)
    with pytest.raises(KeyError):
        CoordWeights()["gat"]
