from __future__ import annotations

import pytest

from sqlllm.udfs.templates import Field, TemplateError, by_position, parse, resolved

FILLED = [
    # template, names, values, prompt
    ("Order {id} costs {price}", ["id", "price"], "Order 0 costs 1"),
    ("{price} for {ID}", ["id", "price"], "1 for 0"),
    ("{o.id} {price}", ["o.id", "o.price"], "0 1"),
    ("{`the id`}", ["the id"], "0"),
    ("{} and {}", ["", ""], "0 and 1"),
    ("{1}{0}{1}", ["", ""], "101"),
    ("{id} {} {1}", ["id", "x"], "0 0 1"),
    ("{0} {3:none}", [""], "0 none"),
    ("{0} {price:no price}", ["", "price"], "0 1"),
    ("{{id}} {id}", ["id"], "{id} 0"),
    ('{{"id": {id}}}', ["id"], '{"id": 0}'),
    ('{{"a": {{"b": {0}}}}}', [""], '{"a": {"b": 0}}'),
    ('{"a": {"b": {0}}}', [""], '{"a": {"b": 0}}'),
    ('Answer as {"name": "...", "tags": [{}]} for {}', ["", ""], 'Answer as {"name": "...", "tags": [0]} for 1'),
    ('Answer as {"name": string, "n": {"x": 1}}: {0}', [""], 'Answer as {"name": string, "n": {"x": 1}}: 0'),
    ("{name: string} {0}", [""], "{name: string} 0"),
    ("{{}} }} { } {", [], "{} }} { } {"),
    ("{{{0}}}", [""], "{0}"),
    ("価格は{価格}", ["価格"], "価格は0"),
    ("", [], ""),
]


@pytest.mark.parametrize(("template", "names", "prompt"), FILLED)
def test_a_template_is_filled_in(template: str, names: list[str], prompt: str) -> None:
    def fill(text: str) -> str:
        pieces = resolved(parse(text), names)
        values = [str(index) for index in range(len(names))]
        shown = [
            piece
            if isinstance(piece, str)
            else values[piece.index]
            if piece.index < len(values)
            else str(piece.default)
            for piece in pieces
        ]
        return "".join(shown)

    assert fill(template) == prompt
    assert fill(by_position(template, names)) == prompt


def test_a_default_stays_with_its_field() -> None:
    assert parse("{0:none}{price:0}") == [Field(0, "", "none", "{0:none}"), Field(-1, "price", "0", "{price:0}")]
    assert by_position("{price:0} {{x}}", ["price"]) == "{0:0} {{x}}"


@pytest.mark.parametrize(
    ("template", "names", "message", "cure"),
    [
        (
            "Classify: {reveiw}",
            ["review"],
            "no value for the field {reveiw}",
            "Did you mean {review}? Write {{reveiw}}",
        ),
        ("{x}", [""], "no value for the field {x}", "Write {{x}} for the text itself."),
        ("{x}", ["name", "price"], "no value for the field {x}", "Values: name, price."),
        ("{2}", ["a", "b"], "{2} of llm_prompt is number 3, and there are 2 values", "{2:none}"),
        ("{} {}", ["a"], "{} of llm_prompt is number 2, and there are 1 value", "a default as in {1:none}"),
        ("Hello", ["name"], "does not use the value name", "Write {name}"),
        ("{0}", ["", ""], "does not use the value at 1", "Write {1}"),
        ("{id}", ["a.id", "b.id"], "{id} of llm_prompt may be value 0 or 1", "Write its position: {0}."),
    ],
)
def test_a_field_and_a_value_belong_together(template: str, names: list[str], message: str, cure: str) -> None:
    with pytest.raises(TemplateError) as raised:
        resolved(parse(template), names)
    assert message in raised.value.message
    assert cure in raised.value.cure
