"""`cmake --install` lays out a prefix that works by itself, and a plugin is built against it outside of the tree."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import tiny_model
from harness import BIN, ROOT, Editd


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


class InstalledTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="editd-install-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.prefix = cls.folder / "prefix"
        run("cmake", "--install", BIN.parent, "--prefix", cls.prefix)

    def test_the_layout(self):
        for name in ("bin/editctl", "bin/editd", "bin/edit-worker", "lib/editd/plugins/import.so", "lib/editd/plugins/trim.so",
                     "lib/editd/plugins/evaluate.so", "lib/editd/plugins/export.so", "include/editd/plugin.h",
                     "include/editd/plugin.hpp", "lib/cmake/EditdPlugin/EditdPluginConfig.cmake",
                     "share/editd/proto/editd/v1/job.proto"):
            self.assertTrue((self.prefix / name).exists(), name)
        self.assertEqual([path.name for path in (self.prefix / "lib/editd/plugins").iterdir() if path.stem in ("noop", "misbehave")], [])

    def test_nothing_points_back_into_the_build(self):
        for path in [*self.prefix.glob("bin/*"), *self.prefix.glob("lib/editd/**/*.so")]:
            if "torch/lib" not in str(path):
                self.assertNotIn(str(ROOT), run("readelf", "-d", path), path)

    def test_it_imports_and_evaluates(self):
        with Editd(programs=self.prefix / "bin") as editd:
            editd.import_model(tiny_model.write(editd.path("tiny")), "tiny")
            editd.write("text.txt", tiny_model.TEXT)
            job = editd.submit("""
                plugin: "evaluate" input { model: "tiny" }
                params { [type.googleapis.com/editd.plugins.evaluate.v1.EvaluateSpec] { data { path: "text.txt" } context: 64 } }""")
            self.assertEqual(job["state"], "JOB_STATE_SUCCEEDED", job)

    def test_a_plugin_of_ones_own(self):
        source = self.folder / "example"
        shutil.copytree(ROOT / "plugins/sdk/example", source)
        run("cmake", "-S", source, "-B", self.folder / "build", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={self.prefix}")
        run("cmake", "--build", self.folder / "build")
        plugins = self.folder / "plugins"
        plugins.mkdir(mode=0o755)
        [built] = self.folder.glob("build/**/*.so")
        shutil.copy(built, plugins)
        os.chmod(plugins / built.name, 0o755)
        name = built.stem
        with Editd(config=f"plugin_dirs = {self.prefix}/lib/editd/plugins:{plugins}\n", programs=self.prefix / "bin") as editd:
            self.assertIn(name, editd.ctl("plugins").out)
            editd.import_model(tiny_model.write(editd.path("tiny")), "tiny")
            spec = editd.ctl("init", name).out.replace('model: "smol"', 'model: "tiny"')
            editd.ctl("validate", "-", stdin=spec)
            job = editd.submit(spec)
            self.assertEqual(job["state"], "JOB_STATE_SUCCEEDED", job)
            editd.verify()


if __name__ == "__main__":
    unittest.main()
