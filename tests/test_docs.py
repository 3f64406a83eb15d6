"""The table of all tricks is the code's: run `make docs` where these fail."""

import docs


def test_the_table_of_tricks_is_up_to_date() -> None:
    assert docs.README.read_text() == docs.document(), "run make docs"


def test_every_trick_names_what_it_does() -> None:
    for trick in docs.options("trick"):
        sentence, _ = docs.what(docs.trick_class(trick))
        assert 20 < len(sentence) < 200, (trick, sentence)
