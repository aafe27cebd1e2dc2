"""Adapters through the daemon: PEFT's folders go in, merged models are opened by transformers and compared with PEFT's base
and adapter, adapters come out and are opened by PEFT."""

import json
import pathlib
import random
import unittest

import peft
import safetensors.numpy
import torch
import transformers
from harness import ROOT, Editd

GOLDEN = ROOT / "tests/golden/adapters"
# Merged weights are rounded to float32 once more than PEFT's two paths.
TOLERANCE = 1e-4
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def spec(edit, ref, **inputs):
    """inputs: role to ref, or to a list of refs."""
    named = [(role, model) for role, models in inputs.items() for model in ([models] if isinstance(models, str) else models)]
    listed = " ".join(f'input {{ model: "{model}" name: "{role}" }}' for role, model in named)
    return f"""plugin: "adapter" {listed} output {{ ref: "{ref}" }}
        params {{ [type.googleapis.com/editd.plugins.adapter.v1.AdapterSpec] {{ {edit} }} }}"""


def golden_parts(name):
    """A golden file's tensors by their first part, and its texts."""
    path = GOLDEN / f"{name}.safetensors"
    with safetensors.safe_open(path, "pt") as file:
        texts = file.metadata()
        parts = {}
        for key in file.keys():
            part, _, rest = key.partition("/")
            parts.setdefault(part, {})[rest] = file.get_tensor(key)
    return parts, texts


def logits(model, ids):
    with torch.no_grad():
        return model(ids[None].long()).logits[0].float()


def randomised(model, seed):
    """PEFT's model with random numbers for all that it trains."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                near = any(part in name for part in ("magnitude", "modules_to_save", "bias", "trainable_tokens"))
                parameter.copy_(parameter + torch.randn_like(parameter) * 0.05 if near else torch.randn_like(parameter) * 0.1)
    return model.eval()


class Adapters(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.editd = cls.enterClassContext(Editd())

    def succeed(self, text, *options):
        done = self.editd.submit(text, *options)
        self.assertEqual(done["state"], "JOB_STATE_SUCCEEDED", done)
        return done["result"]

    def opened(self, ref):
        """The version as transformers opens it; nothing may be missing or left over."""
        folder = self.editd.path(f"{ref}-exported")
        self.editd.ctl("export", ref, folder)
        model, info = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
        self.assertEqual([problem for problem in info.values() if problem], [])
        return model.eval()

    def golden(self, name):
        """Imports a golden file's model and adapters; returns their refs and the tensors."""
        parts, texts = golden_parts(name)
        base = self.editd.path(f"{name}-base")
        base.mkdir()
        (base / "config.json").write_text(texts["config.json"])
        safetensors.torch.save_file(parts["base"], base / "model.safetensors", {"format": "pt"})
        self.editd.import_model(base, f"{name}-base")
        adapters = []
        for i in range(2):
            if f"adapter{i}" not in parts:
                continue
            folder = self.editd.path(f"{name}-adapter{i}")
            folder.mkdir()
            (folder / "adapter_config.json").write_text(texts[f"adapter{i}.json"])
            safetensors.torch.save_file(parts[f"adapter{i}"], folder / "adapter_model.safetensors", {"format": "pt"})
            self.editd.import_model(folder, f"{name}-adapter{i}")
            adapters.append(f"{name}-adapter{i}")
        return f"{name}-base", adapters, parts, json.loads(texts["weights"])


class Merged(Adapters):
    def test_logits_are_those_of_base_and_adapter(self):
        for name in ("plain", "patterns", "embedding_tied", "head_tied", "embedding_tie", "saved_tied", "saved_tie", "bias_all",
                     "dora", "tokens", "conv1d", "two"):
            with self.subTest(name):
                base, adapters, parts, weights = self.golden(name)
                text = spec("merge { %s }" % " ".join(f"weight: {w}" for w in weights), name, base=base, adapter=adapters)
                self.succeed(text)
                difference = (logits(self.opened(name), parts["ids"][""]) - parts["logits"][""]).abs().max()
                self.assertLess(difference, TOLERANCE)
        self.editd.verify()

    def test_random_models_and_adapters(self):
        rng = random.Random(7)
        for seed in range(6):
            heads, tied = rng.choice([2, 3]), rng.random() < 0.5
            kind = rng.choice(["llama", "qwen2", "qwen3"])
            config = transformers.AutoConfig.for_model(
                kind, vocab_size=rng.randrange(30, 90), hidden_size=8 * heads, intermediate_size=rng.randrange(10, 70),
                num_hidden_layers=rng.randrange(1, 4), num_attention_heads=heads, num_key_value_heads=rng.choice([1, heads]),
                head_dim=8, max_position_embeddings=64, tie_word_embeddings=tied)
            torch.manual_seed(seed)
            model = transformers.AutoModelForCausalLM.from_config(config).float()
            folder = self.editd.path(f"random{seed}")
            model.save_pretrained(folder)
            settings = dict(r=rng.randrange(1, 9), lora_alpha=rng.randrange(1, 30), use_rslora=rng.random() < 0.5,
                            use_dora=rng.random() < 0.4, target_modules=rng.sample(LINEAR, rng.randrange(1, 8)))
            if rng.random() < 0.5:
                settings["modules_to_save"] = rng.sample(["embed_tokens", "lm_head", "norm"], 1)
            if rng.random() < 0.5:
                settings["rank_pattern"] = {rng.choice(LINEAR): rng.randrange(1, 6)}
                settings["alpha_pattern"] = {rng.choice(LINEAR): rng.randrange(1, 40)}
            with self.subTest(seed=seed, kind=kind, tied=tied, **settings):
                adapted = randomised(peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **settings)), seed)
                adapted.save_pretrained(self.editd.path(f"random{seed}-lora"))
                self.editd.import_model(folder, f"random{seed}")
                self.editd.import_model(self.editd.path(f"random{seed}-lora"), f"random{seed}-lora")
                self.succeed(spec("merge { }", f"random{seed}-merged", base=f"random{seed}", adapter=f"random{seed}-lora"))
                ids = torch.tensor([rng.randrange(config.vocab_size) for _ in range(25)])
                difference = (logits(self.opened(f"random{seed}-merged"), ids) - logits(adapted, ids)).abs().max()
                self.assertLess(difference, TOLERANCE)


class Told(Adapters):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.base, cls.adapters, cls.parts, _ = cls.golden(cls(), "two")

    def test_an_adapter_tells_what_it_is(self):
        shown = self.editd.ctl("show", self.adapters[0]).out
        for line in ("kind", "adapter", "adapter.rank", "adapter.alpha", "q_proj, up_proj", "tiny/base"):
            self.assertIn(line, shown)

    def test_lineage_has_the_roles(self):
        result = self.succeed(spec("merge { weight: 0.5 weight: 2 }", "both", base=self.base, adapter=self.adapters))
        self.assertEqual([used["name"] for used in result["adapter"]], self.adapters)
        self.assertEqual([used["trainedOn"] if "trainedOn" in used else used["trained_on"] for used in result["adapter"]],
                         ["tiny/base"] * 2)
        log = self.editd.ctl("log", "both").out
        self.assertEqual((log.count(" as base"), log.count(" as adapter")), (1, 2))
        shown = self.editd.ctl("show", "both").out
        self.assertIn("two-adapter0 x 0.5 (trained on tiny/base), two-adapter1 x 2 (trained on tiny/base)", shown)
        version = self.editd.json("show", "both")[-1]
        self.assertEqual([parent["role"] for parent in version["parents"]], ["base", "adapter", "adapter"])
        # A change twice: the same job again is answered from the store; the same bits when it runs.
        self.succeed(spec("merge { weight: 0.5 weight: 2 }", "both", base=self.base, adapter=self.adapters), "--force")
        self.assertEqual(self.editd.json("show", "both")[-1]["id"], version["id"])

    def test_problems_are_told_at_submit(self):
        other, _, _, _ = self.golden("patterns")
        narrow, _, _, _ = self.golden("conv1d")
        for text, message in (
                (spec("", "x", base=self.base, adapter=self.adapters), "give merge, combine or extract"),
                (spec("merge { }", "x", base=self.base), 'no input is named "adapter"'),
                (spec("merge { }", "x", base=narrow, adapter=self.adapters), "does not have"),
                (spec("merge { }", "x", base=self.adapters[0], adapter=self.adapters), "is an adapter"),
                (spec("merge { }", "x", base=self.base, adapter=other), "is no adapter"),
                (spec("merge { weight: 1 }", "x", base=self.base, adapter=self.adapters), "1 numbers for 2 adapters"),
                (spec("merge { combination { method: COMBINATION_METHOD_TIES density: 2 } }", "x", base=self.base,
                      adapter=self.adapters), "above 0 and at most 1"),
                (spec("merge { saved_tensors: SAVED_TENSORS_CHANGE }", "x", base=self.base, adapter=self.adapters), "trained_on"),
                (spec("combine { rank: 3 }", "x", adapter=self.adapters), "only COMBINE_FORM_SVD"),
                (spec("combine { form: COMBINE_FORM_FACTORS }", "x", adapter=self.adapters), "not the same rank"),
                (spec('extract { target: "q_prj" }', "x", base=self.base, tuned=other), 'did you mean "q_proj"')):
            said = self.editd.refused("submit", "-", stdin=text)
            self.assertIn(message, said)

    def test_a_pickle_is_refused_by_name(self):
        folder = self.editd.path("pickle")
        folder.mkdir()
        (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
        (folder / "adapter_model.bin").write_bytes(b"x")
        self.assertIn("adapter_model.bin, a pickle file", self.editd.refused("import", folder, "--as", "x"))
        (folder / "adapter_model.bin").rename(folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text('{"peft_type": "LOHA"}')
        self.assertIn("peft_type LOHA is not supported", self.editd.refused("import", folder, "--as", "x"))


class Extracted(Adapters):
    def test_what_training_changed_comes_back(self):
        base, adapters, parts, _ = self.golden("bias_all")
        self.succeed(spec("merge { }", "tuned", base=base, adapter=adapters))
        result = self.succeed(spec("extract { rank: 8 energy: 0.999999 }", "out", base=base, tuned="tuned"))
        self.assertLess(float(result.get("error", 0)), 1e-3)
        self.assertEqual({cut["rank"] for cut in result["cut"]}, {4})
        self.succeed(spec("merge { }", "again", base=base, adapter="out"))
        wanted = logits(self.opened("tuned"), parts["ids"][""])
        self.assertLess((logits(self.opened("again"), parts["ids"][""]) - wanted).abs().max(), 1e-3)
        # And PEFT reads it.
        self.editd.ctl("export", "out", self.editd.path("out"))
        model = transformers.AutoModelForCausalLM.from_pretrained(self.editd.path("bias_all-base"), dtype=torch.float32)
        adapted = peft.PeftModel.from_pretrained(model, self.editd.path("out")).eval()
        self.assertLess((logits(adapted, parts["ids"][""]) - wanted).abs().max(), 1e-3)

    def test_a_whole_training_at_full_rank(self):
        """Every tensor differs, embeddings and norms too; a head that is the embedding."""
        base, _, parts, _ = self.golden("saved_tied")
        folder = self.editd.path("trained")
        model = transformers.AutoModelForCausalLM.from_pretrained(self.editd.path("saved_tied-base"), dtype=torch.float32)
        torch.manual_seed(4)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn_like(parameter) * 0.02
        model.save_pretrained(folder)
        self.editd.import_model(folder, "trained")
        wanted = logits(model.eval(), parts["ids"][""])
        for low_rank in ("false", "true"):
            self.succeed(spec(f"extract {{ rank: 24 embeddings_low_rank: {low_rank} }}", f"all-{low_rank}", base=base, tuned="trained"))
            self.editd.ctl("export", f"all-{low_rank}", self.editd.path(f"all-{low_rank}"))
            again = transformers.AutoModelForCausalLM.from_pretrained(self.editd.path("saved_tied-base"), dtype=torch.float32)
            adapted = peft.PeftModel.from_pretrained(again, self.editd.path(f"all-{low_rank}")).eval()
            self.assertLess((logits(adapted, parts["ids"][""]) - wanted).abs().max(), 1e-3)
            self.succeed(spec("merge { }", f"again-{low_rank}", base=base, adapter=f"all-{low_rank}"))
            merged = self.opened(f"again-{low_rank}")
            self.assertLess((logits(merged, parts["ids"][""]) - wanted).abs().max(), 1e-3)
            self.assertTrue(merged.config.tie_word_embeddings)


class Combined(Adapters):
    def test_side_by_side_is_both(self):
        base, adapters, parts, weights = self.golden("two")
        self.succeed(spec("combine { weight: %s weight: %s }" % tuple(weights), "cat", adapter=adapters))
        self.editd.ctl("export", "cat", self.editd.path("cat"))
        model = transformers.AutoModelForCausalLM.from_pretrained(self.editd.path("two-base"), dtype=torch.float32)
        adapted = peft.PeftModel.from_pretrained(model, self.editd.path("cat")).eval()
        self.assertLess((logits(adapted, parts["ids"][""]) - parts["logits"][""]).abs().max(), TOLERANCE)

    def test_an_adapter_comes_out_as_it_went_in(self):
        _, adapters, parts, _ = self.golden("dora")
        self.editd.ctl("export", adapters[0], self.editd.path("same"))
        made = safetensors.torch.load_file(self.editd.path("same") / "adapter_model.safetensors")
        self.assertEqual(made.keys(), parts["adapter0"].keys())
        self.assertTrue(all(torch.equal(made[name], parts["adapter0"][name]) for name in made))
        self.assertEqual((self.editd.path("same") / "adapter_config.json").read_bytes(),
                         (self.editd.path("dora-adapter0") / "adapter_config.json").read_bytes())


class Drop(Adapters):
    def test_random_elements_are_the_seeds(self):
        base, adapters, _, _ = self.golden("two")
        edit = "merge { combination { method: COMBINATION_METHOD_DARE_LINEAR density: 0.5 } }"
        ids = []
        for seed in (1, 1, 2):
            self.succeed(spec(edit, f"seed{len(ids)}", base=base, adapter=adapters).replace("params", f"seed: {seed} params"), "--force")
            ids.append(self.editd.json("show", f"seed{len(ids)}")[-1]["id"])
        self.assertEqual(ids[0], ids[1])
        self.assertNotEqual(ids[0], ids[2])


if __name__ == "__main__":
    unittest.main()
