from coordexp.evaluation.measure.categories import build_categories


def test_ids_count_from_one_in_alphabetical_order() -> None:
    found = build_categories(["b", "a", "b"], matching="exact", unknown="bucket")
    assert (found.names, found.id_of("a"), found.id_of("b")) == (("a", "b"), 1, 2)
    assert found.bucket_id == 3


def test_exact_matching_tells_case_apart() -> None:
    found = build_categories(["Cat", "cat"], matching="exact", unknown="bucket")
    assert found.id_of("Cat") != found.id_of("cat")
    assert found.id_of("CAT") is None


def test_normalized_matching_joins_case_width_and_spaces() -> None:
    found = build_categories(["Straße", "fire  hydrant"], matching="normalized", unknown="bucket")
    assert found.id_of("STRASSE") == found.id_of("straße")
    assert found.id_of("Fire Hydrant ") == found.id_of("\uff46\uff49\uff52\uff45 hydrant")


def test_no_truth_means_no_classes() -> None:
    found = build_categories([], matching="exact", unknown="drop")
    assert (found.names, found.bucket_id, found.id_of("cat")) == ((), 1, None)
