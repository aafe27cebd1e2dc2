"""merge through the daemon: several parents with their roles, the same version again, and what is said of a bad spec."""

import json
import math
import struct
import unittest

import tiny_model
from harness import Editd


def spec(ref, params, inputs=("base", "math", "vi"), seed=1):
    lines = " ".join(f'input {{ model: "tiny-{name}" name: "{name}" }}' for name in inputs)
    return f"""plugin: "merge" {lines} output {{ ref: "{ref}" }} seed: {seed}
        params {{ [type.googleapis.com/editd.plugins.merge.v1.MergeSpec] {{ {params} }} }}"""


DARE = """method: METHOD_DARE_TIES base: "base" parameters { weight { value: 0.6 } density { value: 0.5 } }
          models { input: "math" } models { input: "vi" }"""


YAML = {
    "slerp": """
slices:
  - sources:
      - model: org/base
        layer_range: [0, 2]
      - model: org/math
        layer_range: [0, 2]
merge_method: slerp
base_model: org/base
parameters:
  t:
    - filter: self_attn
      value: [0, 0.5, 0.3, 0.7, 1]
    - filter: mlp
      value: [1, 0.5, 0.7, 0.3, 0]
    - value: 0.5 # the rest
dtype: bfloat16
""",
    "ties": """
models:
  - model: org/base
    # no parameters necessary for base model
  - model: org/math
    parameters:
      density: 0.5
      weight: 0.5
  - model: org/vi
    parameters:
      density: [1, 0.7, 0.1] # density gradient
      weight:
        - filter: mlp
          value: 0.5
        - value: 0.3
merge_method: ties
base_model: org/base
parameters:
  normalize: true
  int8_mask: true
dtype: float16
""",
    # As cards of models have them.
    "dare_ties": """
models:
  - model: org/base
    # No parameters necessary for base model
  - model: org/math
    parameters:
      density: 0.53
      weight: 0.4
  - model: org/vi
    parameters:
      density: 0.53
      weight: 0.3
merge_method: dare_ties
base_model: org/base
parameters:
  int8_mask: true
dtype: bfloat16
random_seed: 4
""",
    "model_stock": """
base_model: org/base
merge_method: model_stock
models:
- model: org/math
- model: org/vi
parameters:
  filter_wise: false
dtype: float32
out_dtype: bfloat16
tokenizer:
  source: union
  pad_to_multiple_of: 32
chat_template: chatml
""",
    "linear": """
# One weight for the rest, gradients for attention
models:
  - model: org/math
    parameters:
      weight:
        - filter: self_attn
          value: [0.2, 0.8]
        - value: 0.5
  - model: org/vi
    parameters:
      weight:
        - filter: self_attn
          value: [0.8, 0.2]
        - value: 0.5
merge_method: linear
parameters: {normalize: true}
dtype: float16
tokenizer_source: model:org/vi
""",
    "frankenmerge": """
slices:
  - sources:
      - model: org/math
        layer_range: [0, 2]
  - sources:
      - model: org/vi
        layer_range: [1, 2]
merge_method: passthrough
dtype: float32
""",
}


def tensors(path):
    """Name to floats of a safetensors file of F32 tensors."""
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    out = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            out[name] = struct.unpack(f"<{(end - begin) // 4}f", data[8 + size + begin : 8 + size + end])
    return out


class Merge(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.editd = cls.enterClassContext(Editd())
        cls.models = {}
        for seed, name in enumerate(("base", "math", "vi"), start=1):
            folder = cls.editd.path(name)
            tiny_model.write(folder, seed)
            cls.models[name] = tensors(folder / "model.safetensors")
            cls.editd.import_model(folder, f"tiny-{name}")

    def merge(self, ref, params, *options, **how):
        done = self.editd.submit(spec(ref, params, **how), *options)
        self.assertEqual(done["state"], "JOB_STATE_SUCCEEDED", done)
        return done

    def test_a_mean_is_what_is_exported(self):
        self.merge("mean", """method: METHOD_LINEAR models { input: "math" parameters { weight { value: 1 } } }
                              models { input: "vi" parameters { weight { value: 1 } } }""", inputs=("math", "vi"))
        out = self.editd.path("out")
        self.editd.ctl("export", "mean", out)
        merged = tensors(out / "model.safetensors")
        self.assertEqual(merged.keys(), self.models["math"].keys())
        for name, values in merged.items():
            for ours, x, y in zip(values, self.models["math"][name], self.models["vi"][name]):
                self.assertTrue(math.isclose(ours, (x + y) / 2, rel_tol=3e-7, abs_tol=1e-9), name)
        self.assertEqual((out / "tokenizer.json").read_bytes(), (self.editd.path("math") / "tokenizer.json").read_bytes())
        self.editd.verify()

    def test_parents_have_roles_and_the_same_spec_gives_the_same_version(self):
        self.merge("dare", DARE)
        version = self.editd.json("show", "dare")[0]
        self.assertEqual([parent.get("role") for parent in version["parents"]], ["base", "math", "vi"])
        again = self.merge("dare-again", DARE)
        self.assertTrue(again["from_recipe"])
        forced = self.merge("dare-forced", DARE, "--force")
        self.assertFalse(forced["from_recipe"])
        self.assertEqual({again["version"], forced["version"]}, {version["id"]})
        self.assertNotEqual(self.merge("dare-other", DARE, seed=2)["version"], version["id"])

    def test_mergekits_yaml_as_it_is(self):
        for name, yaml in YAML.items():
            self.editd.write(f"{name}.yml", yaml)
            refs = [part for model in ("base", "math", "vi") if f"org/{model}" in yaml
                    for part in ("--ref", f"org/{model}=tiny-{model}")]
            dry = self.editd.ctl("merge", f"{name}.yml", *refs, "--as", f"yaml-{name}", "--dry-run").out
            done = self.editd.json("merge", f"{name}.yml", *refs, "--as", f"yaml-{name}", "--wait")[-1]
            self.assertEqual(done["state"], "JOB_STATE_SUCCEEDED", done)
            # What was shown is what was done.
            self.assertTrue(self.editd.submit(dry)["from_recipe"], name)
        self.editd.ctl("export", "yaml-model_stock", self.editd.path("stock"))
        self.assertIn("<|im_start|>", (self.editd.path("stock") / "chat_template.jinja").read_text())
        layers = {t["name"].split(".")[2] for t in self.editd.json("show", "yaml-frankenmerge", "--tensors")[0]["tensors"]
                  if ".layers." in t["name"]}
        self.assertEqual(len(layers), 3)

    def test_yaml_that_can_not_be_merged_is_told_with_its_line(self):
        self.editd.write("bad.yml", "merge_method: tise\nmodels:\n  - model: tiny-base\n    paramters: {}\n")
        said = self.editd.refused("merge", "bad.yml", "--as", "bad")
        self.assertIn('bad.yml:1: no merge method "tise"; did you mean "ties"?', said)
        self.assertIn('bad.yml:4: a model\'s entry has no "paramters"; did you mean "parameters"?', said)
        self.editd.write("unknown.yml", "merge_method: linear\nmodels: [{model: tiny-bse, parameters: {weight: 1}}]\n")
        self.assertIn('no version named "tiny-bse"; did you mean "tiny-base"?', said := self.editd.refused("merge", "unknown.yml", "--as", "bad"))
        self.assertIn("next: editctl merge unknown.yml --as bad --dry-run", said)

    def test_an_expanded_model_computes_what_it_did(self):
        expand = 'block_expansion { input: "base" blocks: 1 }'
        said = self.editd.ctl("validate", "-", stdin=spec("expanded", expand, inputs=("base",))).out
        self.assertIn('"base" 1 with zero o_proj, down_proj', said)
        done = self.merge("expanded", expand, inputs=("base",))
        self.assertLess(done["bytes_written"], 100_000)
        self.editd.write("text.txt", "the quick brown fox jumps over the lazy dog " * 20)
        diff = self.editd.submit("""plugin: "evaluate" input { model: "tiny-base" } input { model: "expanded" }
            params { [type.googleapis.com/editd.plugins.evaluate.v1.EvaluateSpec] { data { path: "text.txt" } } }""")
        self.assertEqual(diff["state"], "JOB_STATE_SUCCEEDED", diff)
        logits = diff["result"]["logits_diff"]
        self.assertGreater(logits["positions"], 100)
        self.assertEqual((logits["max_abs"], logits["top1_agreement"]), (0, 1))

    def test_blame_leads_back_to_the_imports(self):
        self.merge("blamed", DARE)
        name = "model.layers.0.mlp.up_proj.weight"
        steps = self.editd.json("blame", "blamed", name)
        self.assertEqual([step["plugin"] for step in steps], ["merge", "import", "import", "import"])
        self.assertEqual(steps[0]["method"], "dare_ties")
        self.assertEqual([(f["input"], f["base"], f["weight"]) for f in steps[0]["from"]],
                         [("base", True, None), ("math", False, 0.6), ("vi", False, 0.6)])
        told = self.editd.ctl("blame", "blamed", name).out
        self.assertIn("made by merge dare_ties", told)
        self.assertIn("math with weight 0.6", told)
        self.assertIn("came by import", told)
        said = self.editd.refused("blame", "blamed", "model.layers.0.mlp.up_proj.weigth")
        self.assertIn(f'did you mean "{name}"?', said)

    def test_a_bad_spec_is_refused_at_submit_with_every_problem(self):
        said = self.editd.refused("submit", "-", stdin=spec("bad", DARE.replace("0.5", "1.5").replace('"vi"', '"vj"')))
        self.assertIn("parameters.density[0].value[0]: 1.5 is out of range; a density is above 0 and at most 1", said)
        self.assertIn('models[1].input: no input is named "vj"; did you mean "vi"?', said)


if __name__ == "__main__":
    unittest.main()
