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

    def test_a_bad_spec_is_refused_at_submit_with_every_problem(self):
        said = self.editd.refused("submit", "-", stdin=spec("bad", DARE.replace("0.5", "1.5").replace('"vi"', '"vj"')))
        self.assertIn("parameters.density[0].value[0]: 1.5 is out of range; a density is above 0 and at most 1", said)
        self.assertIn('models[1].input: no input is named "vj"; did you mean "vi"?', said)


if __name__ == "__main__":
    unittest.main()
