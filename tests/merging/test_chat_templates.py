"""Named chat templates render what the formats' definitions say, however Jinja is set up."""

import json

import jinja2
import pytest

from evomerge.errors import RecipeError
from evomerge.merging.chat_templates import (
    NAMES,
    check_template,
    template_of,
    template_text,
    write_template,
)

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Bye"},
]
WITH_SYSTEM = {
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>",
    "mistral": "<s>[INST] Be brief.\n\nHi [/INST] Hello</s>[INST] Bye [/INST]",
    "exaone": "[|system|]Be brief.[|endofturn|]\n[|user|]Hi\n"
    "[|assistant|]Hello[|endofturn|]\n[|user|]Bye\n",
    "alpaca": "Be brief.\n\n### Instruction:\nHi\n\n### Response:\nHello</s>\n\n"
    "### Instruction:\nBye\n\n",
}
ANSWER = {
    "chatml": "<|im_start|>assistant\n",
    "llama3": "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "mistral": "",
    "exaone": "[|assistant|]",
    "alpaca": "### Response:\n",
}
WITHOUT_SYSTEM = {
    "chatml": "<|im_start|>user\nHi<|im_end|>\n",
    "llama3": "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>",
    "mistral": "<s>[INST] Hi [/INST]",
    "exaone": "[|system|][|endofturn|]\n[|user|]Hi\n",
    "alpaca": "Below is an instruction that describes a task. Write a response that appropriately "
    "completes the request.\n\n### Instruction:\nHi\n\n",
}


def render(name, messages, trim=True, **more):
    def refuse(text):
        raise jinja2.TemplateError(text)

    environment = jinja2.Environment(trim_blocks=trim, lstrip_blocks=trim)
    environment.globals["raise_exception"] = refuse
    template = environment.from_string(template_text(name, []))
    return template.render(messages=messages, bos_token="<s>", eos_token="</s>", **more)


def test_the_names_are_mergekits():
    assert NAMES == ("alpaca", "chatml", "exaone", "llama3", "mistral")


@pytest.mark.parametrize("trim", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_a_talk_is_rendered_as_the_format_says(name, trim):
    assert render(name, TALK, trim) == WITH_SYSTEM[name]
    assert render(name, TALK[1:2], trim) == WITHOUT_SYSTEM[name]
    asked = render(name, TALK, trim, add_generation_prompt=True)
    assert asked == WITH_SYSTEM[name] + ANSWER[name]


@pytest.mark.parametrize("name", ["alpaca", "mistral"])
def test_talks_that_a_format_cannot_say_are_refused(name):
    with pytest.raises(jinja2.TemplateError, match=name):
        render(name, [TALK[1], TALK[0]])


def test_auto_is_what_most_models_have_and_of_equals_the_bases(tmp_path):
    folders = [tmp_path / name for name in ("base", "a", "b", "none")]
    for folder in folders:
        folder.mkdir()
    (folders[0] / "tokenizer_config.json").write_text('{"chat_template": "{{ base }}"}')
    (folders[1] / "chat_template.jinja").write_text("{{ a }}\n")
    assert template_text("auto", folders) == "{{ base }}"
    several = [{"name": "tool", "template": "{{ t }}"}, {"name": "default", "template": "{{ a }}"}]
    (folders[2] / "tokenizer_config.json").write_text(json.dumps({"chat_template": several}))
    assert template_text("auto", folders) == "{{ a }}"
    assert template_text("auto", folders[3:]) is None


def test_a_written_template_is_the_one_that_is_read(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "old", "x": 1}')
    write_template(tmp_path, "{{ ü }}")
    assert template_of(tmp_path) == "{{ ü }}"
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config == {"chat_template": "{{ ü }}", "x": 1}


def test_a_name_that_is_none_is_refused_with_the_nearest():
    check_template("{{ messages }}")
    with pytest.raises(RecipeError, match="did you mean 'alpaca'"):
        check_template("alpacca")
