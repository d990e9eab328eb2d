"""An argument that cannot be parsed is explained by what was probably meant."""

import pytest
from hydra import compose
from hydra.errors import HydraException

from recsweep.argument_hints import task_of
from recsweep.command_line import groups, own_hydra
from recsweep.mistakes import explain


@pytest.mark.parametrize(
    ("before", "word", "expected"),
    [
        ("metrics=ndcg", "recall", "did you mean 'metrics=[ndcg,recall]'?"),
        ("metrics=[ndcg]", "recall", "did you mean 'metrics=[ndcg,recall]'?"),
        ("metrics=", "recall", "did you mean metrics=recall?"),
        ("metrics=ndcg", "ease", "did you mean model=ease?"),
        ("k=10", "20", "did you mean 'k=[10,20]'?"),
        ("k=20", "ease", "did you mean model=ease?"),
        ("task=recommend", "task.run", "but task.run is not; write task.run=NAME"),
        ("task=best", "study", "but study is not; write study=NAME"),
        ("task=recommend", "mine", "did you mean task.run=mine?"),
        ("data.path=my", "file.csv", """'data.path="my file.csv"'"""),
    ],
)
def test_a_word_after_a_setting_is_understood_from_it(
    before: str, word: str, expected: str
) -> None:
    with pytest.raises(HydraException) as caught, own_hydra():
        compose("config", [word])
    assert expected in explain(caught.value, [before, word], groups())


def test_the_task_is_the_last_one_typed_or_training() -> None:
    assert task_of(["model=ease"]) == "train"
    assert task_of(["task=ui", "task=best", "study=mine"]) == "best"
