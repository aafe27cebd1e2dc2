"""Conversations through chat templates, by transformers: python tests/golden/make_chat_templates.py

Writes tests/golden/chat_templates/cases.json: for each template of that folder and each conversation the text and the
{% generation %} spans (in bytes), or that it is refused. The templates are ours, in the manner of those that model
families bring along: ChatML with and without tools (Qwen, SmolLM2), thoughts (Qwen3), headers (Llama 3), turns (Gemma),
instructions (Mistral), and one with everything else that the language has.
"""
import json
import pathlib

from transformers.utils.chat_template_utils import render_jinja_template

HERE = pathlib.Path(__file__).parent / "chat_templates"

TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "  tells the weather – in a city",
     "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}}, "required": ["city"]}}},
    {"type": "function", "function": {"name": "giờ", "description": "mấy \"giờ\"\n<now> & 'here'", "parameters": {"properties": {}}}},
]


def message(role, content, **more):
    return {"role": role, "content": content, **more}


CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "weather", "arguments": {"city": "Huế", "n": 1.0, "all": True, "x": None}}}
CHATS = {
    "one": [message("user", "Hello")],
    "system": [message("system", "Be brief."), message("user", "Hi!")],
    "turns": [message("user", "a"), message("assistant", "b"), message("user", "c"), message("assistant", "d"), message("user", "e")],
    "system_turns": [message("system", "  S \n"), message("user", "\n a \t"), message("assistant", " b\n\n"), message("user", "c ")],
    "unicode": [message("user", "Xin chào, bạn khỏe không? 🙂 “q” \u00a0x\u3000"), message("assistant", "Tôi khỏe!\u2028"), message("user", "ẞß İi")],
    "odd_roles": [message("assistant", "first"), message("user", "second")],
    "system_late": [message("user", "u"), message("system", "s"), message("user", "v")],
    "empty": [message("user", "")],
    "markup": [message("user", "<b>{{ x }} {% if %} \\n \"'</b> &amp;")],
    "thoughts": [message("user", "q"), message("assistant", "<think>\nhm\n</think>\n\nanswer"), message("user", "r"), message("assistant", "<think>\n\nwell\n</think>\nyes")],
    "reasoning": [message("user", "q"), message("assistant", "yes", reasoning_content="\nfirst\n"), message("assistant", "no", reasoning_content=None)],
    "tools": [message("user", "weather?"), message("assistant", "", tool_calls=[CALL]), message("tool", "{\"t\": 20}"), message("assistant", "20 degrees")],
    "tools_many": [message("system", "s"), message("user", "?"), message("assistant", None, tool_calls=[CALL, CALL]), message("tool", "1"), message("tool", "2"), message("user", "ok")],
    "parts": [message("user", [{"type": "text", "text": " look "}, {"type": "image"}, {"type": "text", "text": "here"}])],
    "system_parts": [message("system", [{"type": "text", "text": "S"}]), message("user", "u")],
    "ends_with_model": [message("user", "u"), message("assistant", "partly")],
}
VARIABLES = [
    dict(add_generation_prompt=True, bos_token="<s>", eos_token="</s>"),
    dict(add_generation_prompt=False, bos_token="<s>", eos_token="</s>", tools=TOOLS),
    dict(add_generation_prompt=True, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>", enable_thinking=False, date_string="1 May 2026"),
    dict(add_generation_prompt=True, bos_token="", eos_token="", builtin_tools=["search", "code_interpreter"], tools=TOOLS[:1], enable_thinking=True),
]


def render(template, messages, variables):
    variables = dict(variables)
    tools = variables.pop("tools", None)
    prompt = variables.pop("add_generation_prompt")
    texts, spans = render_jinja_template([messages], tools=tools, chat_template=template, add_generation_prompt=prompt,
                                         return_assistant_tokens_mask="{% generation %}" in template, **variables)
    spans = [[len(texts[0][:at].encode()) for at in span] for span in (spans[0] if spans else [])]
    return texts[0], spans


def main():
    cases = []
    for path in sorted(HERE.glob("*.jinja")):
        template = path.read_text(encoding="utf-8")
        for name, messages in CHATS.items():
            for number, variables in enumerate(VARIABLES):
                case = {"template": path.name, "chat": name, "variables": number}
                try:
                    case["text"], case["generations"] = render(template, messages, variables)
                except Exception as e:  # jinja2's errors are of many kinds.
                    case["error"] = str(e)
                cases.append(case)
    whole = [{"tools": None, "documents": None} | variables for variables in VARIABLES]
    (HERE / "cases.json").write_text(json.dumps({"chats": CHATS, "variables": whole, "cases": cases}, ensure_ascii=False), encoding="utf-8")
    print(len(cases), "cases,", sum("error" in case for case in cases), "refused")


if __name__ == "__main__":
    main()
