"""Label schemes: their order, how classes of one are found in another, and what is said of an unknown one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.data.labels import (
    FACE,
    FER2013,
    FERPLUS,
    FERPLUS_VOTES,
    SCHEMES,
    LabelScheme,
    canonical,
    scheme_named,
    scheme_of,
)
from mien.errors import MienError


def test_the_order_of_classes_is_the_published_one() -> None:
    assert FER2013.classes == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    assert FERPLUS_VOTES == (
        "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "not a face",
    )  # fmt: skip
    assert (len(FER2013), len(FERPLUS)) == (7, 8)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Happiness", "happy"),
        (" ANGER ", "angry"),
        ("natural", "neutral"),
        ("surprised", "surprise"),
        ("contempt", "contempt"),
    ],
)
def test_spellings_that_mean_the_same(name: str, plain: str) -> None:
    assert canonical(name) == plain


def test_each_scheme_in_the_other() -> None:
    assert FERPLUS.to(FER2013) == (6, 3, 5, 4, 0, 1, 2, None)
    assert FER2013.to(FERPLUS) == (4, 5, 6, 1, 3, 2, 0)
    assert FER2013.to(FER2013) == tuple(range(7))


@settings(max_examples=50, deadline=None)
@given(st.permutations(FERPLUS.classes))
def test_a_built_in_scheme_is_known_in_any_order(classes: list[str]) -> None:
    assert scheme_of([name.upper() for name in classes], "mine") == FERPLUS


@pytest.mark.parametrize("classes", [FER2013.classes[:6], (*FER2013.classes, "happy"), ("cat", "dog")])
def test_other_classes_make_a_scheme_of_their_own_in_their_order(classes: tuple[str, ...]) -> None:
    assert scheme_of(classes, "mine") == LabelScheme("mine", classes)


def test_an_unknown_scheme() -> None:
    assert scheme_named("ferplus-8") is SCHEMES["ferplus-8"]
    with pytest.raises(MienError) as error:
        scheme_named("fer2013")
    assert str(error.value) == (
        "no label scheme is called 'fer2013'; expected one of affectnet-7, affectnet-8, ck-plus-8, face, fer2013-7, "
        "ferplus-8, raf-db. Did you mean 'fer2013-7'?"
    )


def test_sets_without_expressions_have_one_class() -> None:
    assert (scheme_named("face"), FACE.classes) == (FACE, ("face",))
    assert scheme_of(["Face"], "mine") == FACE
    assert FACE.to(FER2013) == (None,)
