"""What a client may add to a document: a reference and metadata."""

from typing import Any

import marshmallow
import orjson
import pytest

from rowlock.accounts.references import References
from rowlock.http.bodies import DocumentBody
from rowlock.rejections import ReferenceTaken

BODY = DocumentBody()


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"project": "north"},
        {"note": "two\nlines", "empty": ""},
        {"x" * 40: "y" * 500},
        {str(number): "" for number in range(20)},
        {"größe": "µ"},
    ],
)
def test_metadata__short_texts__loaded_as_their_json(metadata: dict[str, str]) -> None:
    loaded = BODY.load({"metadata": metadata})
    assert orjson.loads(loaded["metadata"]) == metadata
    assert loaded["reference"] is None


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ([], "Must be an object."),
        ("text", "Must be an object."),
        ({"a": 1}, "'a': Not a valid string."),
        ({"a": None}, "'a': Field may not be null."),
        ({"a": {"b": "c"}}, "'a': Not a valid string."),
        ({"": "a"}, "'': "),
        ({"x" * 41: "a"}, "'xxx"),
        ({"a": "y" * 501}, "'a': Length must be between 0 and 500."),
        ({"a": "\0"}, "'a': "),
        ({"a\0": "b"}, "'a\\x00': "),
        ({str(number): "" for number in range(21)}, "Must not have more than 20 texts."),
    ],
)
def test_metadata__anything_else__refused(metadata: Any, problem: str) -> None:
    with pytest.raises(marshmallow.ValidationError) as raised:
        BODY.load({"metadata": metadata})
    [message] = raised.value.messages_dict["metadata"]
    assert problem in message


@pytest.mark.parametrize("reference", ["", "x" * 101, " \t", "a\nb", 7, ["a"], {}])
def test_reference__not_a_line_of_1_to_100_characters__refused(reference: Any) -> None:
    with pytest.raises(marshmallow.ValidationError) as raised:
        BODY.load({"reference": reference})
    assert set(raised.value.messages_dict) == {"reference"}


def test_references__taken_or_used_in_the_batch__refused() -> None:
    references = References(["old"])
    assert isinstance(references.refusal("old"), ReferenceTaken)
    assert references.refusal("new") is None
    references.take("new")
    assert isinstance(references.refusal("new"), ReferenceTaken)
    references.take(None)
    assert references.refusal(None) is None
