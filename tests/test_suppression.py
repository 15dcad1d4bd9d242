"""Suppression comments: which finding each hides, and which are reported because they hide none."""

from __future__ import annotations

import pytest

from gradlint.static import check_source
from gradlint.suppression import suppressions

HEAD = "import torch\nmodel = torch.nn.Linear(2, 1)\noptimizer = torch.optim.SGD(model.parameters())\n"

LOOP = """\
for x in torch.randn(8, 4, 2):{header}
    model(x).mean().backward(){backward}
    {step}
"""


def codes(step: str, *, header: str = "", backward: str = "", top: str = "") -> list[str]:
    source = HEAD + top + LOOP.format(step=step, header=header, backward=backward)
    return [item.code for item in check_source(source)]


@pytest.mark.parametrize(
    "step",
    [
        "optimizer.step()  # gradlint: ignore[GL101]",
        "optimizer.step()  # gradlint: ignore[GL101] a reason",
        "optimizer.step()  #gradlint:ignore[ GL101 ]",
        "optimizer.step()  # a word first # gradlint: ignore[GL101]",
        "optimizer.step()  # noqa: E501  # gradlint: ignore[GL101]",
        "optimizer.step()  # noqa: GL101",
        "optimizer.step()  # noqa:GL101",
        "optimizer.step()  # noqa: E501, GL101",
        "optimizer.step()  # noqa: gl101",
        "optimizer.step()  # NOQA",
        "optimizer.step(  # gradlint: ignore[GL101]\n    )",
        "optimizer.step(\n    )  # gradlint: ignore[GL101]",
        "optimizer.step(\n        None  # gradlint: ignore[GL101]\n    )",
        "log = [\n        1,\n        optimizer.step(),\n    ]  # gradlint: ignore[GL101]",
    ],
)
def test_hides_the_finding_of_its_statement(step: str) -> None:
    assert codes(step) == []


@pytest.mark.parametrize(
    "step",
    [
        "optimizer.step()",
        "optimizer.step()  # noqa: E501",
        "optimizer.step()  # noqa: GL08",
        "optimizer.step(); s = '# gradlint: ignore[GL101]'",
        "optimizer.step(); s = '''\n# gradlint: ignore-file[GL101]\n'''",
        "optimizer.step()  # type: ignore[GL101]",
    ],
)
def test_is_none_of_ours(step: str) -> None:
    assert codes(step) == ["GL101"]


@pytest.mark.parametrize(
    "step",
    [
        "optimizer.step()  # gradlint: ignore[GL103]",
        "optimizer.step()  # noqa: GL103",
        "optimizer.step()  # gradlint: ignore",
        "optimizer.step()  # gradlint: ignore[]",
        "optimizer.step()  # gradlint: ignore[GL1O1]",
        "optimizer.step()\n    # gradlint: ignore[GL101]",
        "# gradlint: ignore[GL101]\n    optimizer.step()",
    ],
)
def test_hides_nothing_and_is_reported(step: str) -> None:
    assert sorted(codes(step)) == ["GL001", "GL101"]


def test_header_of_a_loop_does_not_cover_its_body() -> None:
    assert sorted(codes("optimizer.step()", header="  # gradlint: ignore[GL101]")) == ["GL001", "GL101"]


def test_neighbouring_statement_is_not_covered() -> None:
    assert sorted(codes("optimizer.step()", backward="  # gradlint: ignore[GL101]")) == ["GL001", "GL101"]


@pytest.mark.parametrize(
    "row", ["# gradlint: ignore-file[GL101] a reason\n", "x = 1  # gradlint: ignore-file[GL101]\n"]
)
def test_ignore_file_covers_the_file(row: str) -> None:
    assert codes("optimizer.step()", top=row) == []


def test_unused_ignore_file_is_reported() -> None:
    assert sorted(codes("optimizer.step()", top="# gradlint: ignore-file[GL103]\n")) == ["GL001", "GL101"]


@pytest.mark.parametrize(
    "comment",
    [
        "# gradlint: ignore[GL101, GL103]",
        "# noqa: GL101 GL103",
    ],
)
def test_each_unused_code_is_reported(comment: str) -> None:
    [finding] = check_source(HEAD + LOOP.format(step=f"optimizer.step()  {comment}", header="", backward=""))
    assert finding.code == "GL001"
    assert "GL103" in finding.message
    assert "GL101" not in finding.message


@pytest.mark.parametrize(
    ("comment", "hint"),
    [
        ("# gradlint: ignore[GL1O1]", "`GL101`"),
        ("# gradlint: ignore[missing-zero-grad]", "`GL101`"),
        ("# noqa: GL199", "`GL10"),
        ("# gradlint: ignore[E501]", "rule --all"),
        ("# gradlint: ignore", "ignore[GL101]"),
    ],
)
def test_wrong_code_names_the_right_one(comment: str, hint: str) -> None:
    [finding] = check_source(f"x = 1  {comment}\n")
    assert finding.code == "GL001"
    assert hint in finding.help


@pytest.mark.parametrize(
    "comment", ["# noqa", "# noqa: E501", "# noqa: GL08", "# gradlint is a linter", "# gradlint: ignored"]
)
def test_foreign_comment_is_never_reported(comment: str) -> None:
    assert check_source(f"x = 1  {comment}\n") == []


def test_unused_one_may_be_kept_on_purpose() -> None:
    assert check_source("x = 1  # gradlint: ignore[GL101, GL001] only the run sees it\n") == []
    assert check_source("# gradlint: ignore-file[GL001]\nx = 1  # gradlint: ignore[GL101]\n") == []


def test_rule_that_only_the_run_sees_is_not_called_unused() -> None:
    assert check_source("x = 1  # gradlint: ignore[GL521]\n") == []


def test_report_points_at_the_comment() -> None:
    [finding] = check_source("x = 1  # why # gradlint: ignore[GL101] reason\n")
    place = finding.location
    assert (place.row, place.column, place.end_column) == (1, 14, 39)


def test_rows_of_a_statement_of_several_lines() -> None:
    [found] = suppressions("a = 1\nb = [\n    2,  # gradlint: ignore[GL101]\n]\nc = 3\n", "f.py")
    assert found.rows == range(2, 5)


def test_source_that_cannot_be_split_into_tokens_has_none() -> None:
    assert suppressions("x = (  # gradlint: ignore[GL101]\n", "f.py") == ()


@pytest.mark.parametrize(
    ("comment", "said"),
    [
        ("accumulate", "`# gradlint: accumulate` does not say how many batches"),
        ("accumulate=0", "does not say how many batches"),
        ("accumulate=many", "does not say how many batches"),
        ("accumulation=4", "does not say how many batches"),
    ],
)
def test_a_declared_window_that_cannot_be_followed_is_reported(comment: str, said: str) -> None:
    found = check_source(HEAD + LOOP.format(step="optimizer.step()", header=f"  # gradlint: {comment}", backward=""))
    assert [item.code for item in found] == ["GL001", "GL101"]
    assert said in found[0].message


def test_a_declared_window_stands_on_a_loop() -> None:
    found = check_source(HEAD + LOOP.format(step="optimizer.step()  # gradlint: accumulate=4", header="", backward=""))
    assert [item.code for item in found] == ["GL101", "GL001"]
    assert "stands on no loop" in found[1].message
    above = "# gradlint: accumulate=4, see below  # gradlint: ignore[GL001] a remark\n"
    assert codes("optimizer.step()  # noqa", top=above) == []


def test_a_declared_window_makes_gradients_add_up_on_purpose() -> None:
    assert codes("optimizer.step()", header="  # gradlint: accumulate=4 as in the paper") == []
    assert codes("optimizer.step()", header="  # gradlint: accumulate=1") == ["GL101"]
