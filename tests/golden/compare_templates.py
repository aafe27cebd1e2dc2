"""Random chat templates and conversations through jinja2 (as transformers sets it) and through ours; the texts are equal.

    python tests/golden/compare_templates.py build/release/tests/render_templates [--count 20000] [--seed 1] [TEMPLATE.jinja ...]

Where ours refuses a template, that is counted and the reasons are listed; where both run, one text that differs is an
error, and so is an error of one side alone. Templates that are given as files meet random conversations.
"""
import argparse
import collections
import json
import pathlib
import random
import subprocess
import sys
import warnings

from transformers.utils.chat_template_utils import _compile_jinja_template

STRINGS = ["", "a", "user", "Hello", " x ", "\n", "a b  c", "Xin chào", "<think>t</think>z", "ẞß", "'q\"", "\\", "tab\t", "1", "🙂", "aXbXc", "\u2028l", "A-b c"]
NAMES = ["messages", "m", "x", "y", "ns", "tools", "missing"]


class Maker:
    def __init__(self, rng):
        self.r = rng
        self.names = ["messages", "x", "d", "n", "flag", "nothing", "missing"]
        self.depth = 0

    def pick(self, *choices):
        return self.r.choice(choices)

    def string(self):
        return json.dumps(self.r.choice(STRINGS), ensure_ascii=False).replace("\\u2028", "\u2028")

    def number(self):
        return str(self.r.choice([0, 1, 2, 3, -1, 7, 10, 1.5, 2.0, 0.1]))

    def name(self):
        return self.r.choice(self.names)

    def primary(self, depth):
        if depth <= 0:
            return self.pick(self.string, self.number, self.name, lambda: self.pick("true", "false", "none", "x", "n"))()
        e = lambda: self.expression(depth - 1)
        return self.pick(
            self.string, self.number, self.name, lambda: "messages[0]", lambda: "messages[-1].role", lambda: "messages[0]['content']",
            lambda: "(" + e() + ")", lambda: "[" + ", ".join(e() for _ in range(self.r.randrange(4))) + "]",
            lambda: "{" + ", ".join(self.string() + ": " + e() for _ in range(self.r.randrange(3))) + "}",
            lambda: "(" + e() + ", " + e() + ")", lambda: "range(" + self.number().split(".")[0] + ")", lambda: "d." + self.pick("a", "b", "zz"),
            lambda: "loop." + self.pick("index", "index0", "first", "last", "length", "revindex", "previtem", "nextitem"))()

    def postfix(self, depth):
        out = self.primary(depth)
        for _ in range(self.pick(0, 0, 0, 1, 2)):
            out += self.pick(
                lambda: "[" + self.pick("0", "1", "-1", "5", "'role'", "'a'") + "]", lambda: "[" + self.pick("", "1", "-2", "0") + ":" + self.pick("", "2", "-1") + self.pick("", "", ":2", "::-1"[1:]) + "]",
                lambda: "." + self.pick("role", "content", "a", "strip()", "lstrip()", "rstrip('\\n')", "strip('aX')", "split('X')", "split()", "split(' ', 1)", "rsplit(None, 1)",
                    "startswith('a')", "endswith(('c', 'o'))", "replace('a', 'bb')", "upper()", "lower()", "title()", "capitalize()", "items()", "keys()", "values()", "get('a')", "get('q', 3)",
                    "splitlines()", "find('b')", "count('a')", "isdigit()", "isspace()", "removeprefix('a')", "join(['p', 'q'])", "index('a')", "rfind('X')"),
            )()
        return out

    def filtered(self, depth):
        out = self.postfix(depth)
        if self.r.random() < 0.4:
            out = out if not out.startswith("-") else "(" + out + ")"
            out += "|" + self.pick("trim", "length", "upper", "lower", "capitalize", "title", "tojson", "tojson(indent=2)", "string", "list", "first", "last", "join", "join(', ')", "default('df')",
                "d('e', true)", "int", "float", "abs", "reverse|list", "sort", "unique|list", "map('upper')|list", "map(attribute='role')|join(',')", "select|list", "reject('none')|list",
                "selectattr('role', 'equalto', 'user')|list", "rejectattr('role', 'in', ['user'])|list", "items|list", "dictsort", "replace('a', 'o')", "count", "sum", "min", "max", "indent(2)",
                "map('length')|list", "sort(reverse=true)", "tojson(sort_keys=true)", "tojson(separators=(',', ':'))", "join(attribute='role')", "selectattr('content')|list|length", "tojson(ensure_ascii=true)")
        if self.r.random() < 0.2:
            out += " is " + self.pick("", "not ") + self.pick("defined", "undefined", "none", "string", "mapping", "iterable", "sequence", "number", "integer", "float", "boolean", "true", "false", "odd", "even",
                "divisibleby 2", "divisibleby(3)", "eq(1)", "equalto 'a'", "in(['a', 1])", "ne 2", "lower", "upper", "callable", "sameas none")
        return out

    def expression(self, depth):
        if depth <= 0 or self.r.random() < 0.4:
            return self.filtered(depth)
        e = lambda: self.expression(depth - 1)
        return self.pick(
            lambda: e() + " " + self.pick("+", "-", "*", "/", "//", "%", "~", "+", "~") + " " + e(), lambda: e() + self.pick(" == ", " != ", " < ", " >= ", " in ", " not in ") + e(),
            lambda: e() + self.pick(" and ", " or ") + e(), lambda: "not " + e(), lambda: e() + " if " + e() + " else " + e(), lambda: e() + " if " + self.postfix(0), lambda: "-" + self.postfix(0))()

    def space(self):
        return self.pick("", "", " ", "\n", "\n  ", "  \n", "\t")

    def tag(self, text):
        return "{%" + self.pick("", "", "-", "-", "+") + " " + text + " " + self.pick("", "", "-", "-", "+") + "%}"

    def body(self, depth):
        return "".join(self.space() + self.statement(depth) + self.space() for _ in range(self.r.randrange(1, 4)))

    def statement(self, depth):
        kind = self.r.random()
        if depth <= 0 or kind < 0.45:
            return self.pick(lambda: "{{" + self.pick("", "-") + " " + self.expression(2) + " " + self.pick("", "-") + "}}", lambda: self.pick("text", "a  ", "} {", "%}", "{ % x"), lambda: "{{ x }}",
                lambda: "{#" + self.pick("", "-") + " c " + self.pick("", "-") + "#}", lambda: "{% raw %} {{ r }} \n {% endraw %}")()
        if kind < 0.6:
            out = self.tag("if " + self.expression(1)) + self.body(depth - 1)
            if self.r.random() < 0.3:
                out += self.tag("elif " + self.expression(1)) + self.body(depth - 1)
            if self.r.random() < 0.5:
                out += self.tag("else") + self.body(depth - 1)
            return out + self.tag("endif")
        if kind < 0.78:
            target = self.pick("m", "x", "k, v")
            seen, self.names = self.names, self.names + ["m", "k", "v"]
            over = self.pick("messages", "messages[1:]", "messages[::-1]", "d.items()", "range(3)", "[1, 2, 3]", "'abc'", self.expression(1), "messages if m.role == 'user'", "d|dictsort", "[]")
            out = self.tag("for " + target + " in " + over) + self.body(depth - 1)
            if self.r.random() < 0.2:
                out += self.tag("if loop.index > 1") + self.tag(self.pick("break", "continue")) + self.tag("endif") + self.body(0)
            if self.r.random() < 0.2:
                out += self.tag("else") + self.body(depth - 1)
            self.names = seen
            return out + self.tag("endfor")
        if kind < 0.92:
            name = self.pick("x", "y", "z", "n")
            if name not in self.names and self.r.random() < 0.7:
                self.names.append(name)
            form = self.r.random()
            if form < 0.7:
                return self.tag("set " + name + " = " + self.expression(2))
            if form < 0.8:
                return self.tag("set s = namespace(a=1, b='q')") + self.tag("set s.a = " + self.expression(1)) + "{{ s.a }}{{ s.b }}"
            if form < 0.9:
                return self.tag("set " + name + " | trim") + self.body(depth - 1) + self.tag("endset")
            return self.tag("set p, q = " + self.expression(0) + ", " + self.expression(0)) + "{{ p }}{{ q }}"
        if kind < 0.96:
            return self.tag("macro f(a, b=2)") + "{{ a }}-{{ b }}{{ n }}" + self.tag("endmacro") + "{{ f(" + self.expression(1) + ") }}{{ f(1, b=" + self.expression(0) + ") }}"
        return self.tag("generation") + self.body(depth - 1) + self.tag("endgeneration")


def conversation(rng):
    text = lambda: rng.choice(STRINGS) + rng.choice(STRINGS)
    out = []
    for i in range(rng.randrange(1, 6)):
        message = {"role": rng.choice(["user", "assistant"]) if rng.random() < 0.3 else ["user", "assistant"][i % 2], "content": text()}
        if rng.random() < 0.1:
            message["reasoning_content"] = rng.choice([None, text()])
        out.append(message)
    if rng.random() < 0.4:
        out.insert(0, {"role": "system", "content": text()})
    return out


def variables(rng):
    return {"messages": conversation(rng), "tools": None, "documents": None, "add_generation_prompt": rng.random() < 0.5, "bos_token": "<s>", "eos_token": "</s>",
            "x": rng.choice([*STRINGS, 3, None, True]), "d": {"a": rng.choice(STRINGS), "b": [1, "z"], "C": 2.5}, "n": rng.choice([0, 1, 2, 5]), "flag": rng.random() < 0.5, "nothing": None}


def reference(template, values):
    try:
        return _compile_jinja_template(template).render(**values), None
    except Exception as e:
        return None, f"{type(e).__name__}: {e}"


def main():
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("templates", nargs="*")
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=5)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    files = [pathlib.Path(path).read_text(encoding="utf-8") for path in options.templates]
    ours = subprocess.Popen([options.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    equal = both_fail = different = 0
    refused = collections.Counter()
    for number in range(options.count):
        template = rng.choice(files) if files else Maker(rng).body(3)
        values = variables(rng)
        ours.stdin.write(json.dumps({"template": template, "variables": values}) + "\n")
        ours.stdin.flush()
        got = json.loads(ours.stdout.readline())
        want, error = reference(template, values)
        if "text" in got and want is not None and got["text"] == want:
            equal += 1
        elif "text" not in got and want is None:
            both_fail += 1
        elif "text" not in got and ("supported" in got["error"] or "cannot be printed" in got["error"] or "without parentheses" in got["error"]):
            refused[got["error"].split(": ", 2)[-1]] += 1
        elif want is not None and any(mark in want for mark in ("<generator", "<built-in", "<bound method", "dict_items(", "dict_keys(", "dict_values(", "range(", "<Macro", "<LoopContext", "<jinja2", "<map", "<filter", "iterator object", "<function", "<reversed", "<class")):
            refused["Python's own object is printed"] += 1
        else:
            different += 1
            if different <= options.show:
                print(f"--- {number}\n{template}\n--- variables {values}\n--- jinja2: {want!r} {error}\n--- ours: {got}")
    ours.stdin.close()
    print(f"{options.count} renderings: {equal} equal, {both_fail} refused by both, {different} different, {sum(refused.values())} refused by ours alone:")
    for reason, count in refused.most_common(12):
        print(f"  {count:6} {reason}")
    return different > 0


if __name__ == "__main__":
    sys.exit(main())
