import torch

from coordexp.objective import StepCounts
from coordexp.objective.masks import count_targets, label_bins, text_mask

NO_IDS = torch.arange(0)


def test_a_label_names_the_bin_at_its_place_in_the_coord_ids() -> None:
    labels = torch.tensor([-100, 0, 5, 6, 7, 8, -100])
    bins = label_bins(labels, torch.tensor([5, 6, 7]), 9)
    assert bins.tolist() == [-1, -1, 0, 1, 2, -1, -1]
    assert text_mask(labels, bins).tolist() == [False, True, False, False, False, True, False]


def test_bins_follow_the_order_of_the_ids_and_not_their_size() -> None:
    bins = label_bins(torch.tensor([3, 8, 1]), torch.tensor([8, 1, 3]), 9)
    assert bins.tolist() == [2, 0, 1]


def test_token_0_may_be_a_coord_token_and_ignored_labels_stay_ignored() -> None:
    bins = label_bins(torch.tensor([0, -100, 1]), torch.tensor([0, 1]), 4)
    assert bins.tolist() == [0, -1, 1]


def test_without_coord_ids_everything_supervised_is_text() -> None:
    labels = torch.tensor([-100, 0, 3])
    bins = label_bins(labels, NO_IDS, 4)
    assert bins.tolist() == [-1, -1, -1]
    assert text_mask(labels, bins).tolist() == [False, True, True]


def test_counting_looks_at_next_tokens_so_the_first_label_of_a_row_is_no_target() -> None:
    labels = torch.tensor([[5, 1, 6, -100], [6, 6, 4, 7], [-100, -100, -100, -100]])
    # Without the first column: 1 6 | 6 4 7; coord ids 5 and 6 are met twice, text 1, 4, 7.
    assert count_targets(labels, range(5, 7)) == StepCounts(text=3, coord=2)
    assert count_targets(labels, range(0)) == StepCounts(text=5, coord=0)


def test_counts_agree_with_what_the_loss_sees() -> None:
    labels = torch.randint(0, 12, (4, 9), generator=torch.Generator().manual_seed(0))
    labels[labels == 3] = -100
    shifted = labels[:, 1:].flatten()
    bins = label_bins(shifted, torch.arange(5, 9), 12)
    assert count_targets(labels, range(5, 9)) == StepCounts(
        text=int(text_mask(shifted, bins).sum()), coord=int((bins >= 0).sum())
    )
