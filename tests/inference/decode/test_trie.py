from coordexp.inference.decode.trie import End, Node, Slot


def test_a_run_follows_the_likely_child_and_notes_its_guesses() -> None:
    node = Node()
    node.insert([1, 2, 3, 4], Slot(kind=None))
    node.insert([1, 5], End(), stops=True)
    node.insert([1, 2, 6], End())
    run = node.run()
    assert run.ids == (1, 2, 3, 4)
    assert [(place, guessed.options) for place, guessed in run.guesses] == [
        (1, (2, 5)),
        (2, (3, 6)),
    ]
    assert run.end.leaf == Slot(kind=None)
    assert run.guesses[0][1].stop == 5
    assert node.run() is run


def test_a_run_ends_where_nothing_is_likely() -> None:
    node = Node(likely=False)
    node.insert([1, 2], End())
    node.insert([1, 3], End())
    run = node.run()
    assert (run.ids, run.guesses, run.end.options) == ((1,), (), (2, 3))


def test_a_run_goes_on_into_another_trie() -> None:
    shared = Node()
    shared.insert([7], Slot(kind="line"))
    for first in (1, 2):
        node = Node()
        node.insert([first, 3], shared)
        assert node.run().ids == (first, 3, 7)
        assert node.children[first].children[3] is shared


def test_a_leaf_has_no_run() -> None:
    node = Node()
    node.insert([1], End())
    assert node.run().end.run().ids == ()
