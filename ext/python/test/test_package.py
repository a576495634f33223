"""The packages as others get them: types that mypy believes, an installation by pip, one version everywhere, no dependency."""

import ast
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

from support import ROOM, TOP

import maph
import maph_client


class Package(unittest.TestCase):
    def test_types(self):
        if not shutil.which("mypy"):
            self.skipTest("needs mypy")
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(["mypy", "--strict", "--cache-dir", folder, "maph", "maph_client"], cwd=ROOM, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_a_typed_program_sees_the_types(self):
        if not shutil.which("mypy"):
            self.skipTest("needs mypy")
        program = ('import maph\nfrom maph_client import MaphClient\n'
                   'reveal_type(maph.open("x")["k"])\nreveal_type(maph.open("x").view("k"))\nreveal_type(MaphClient().get_store("s")["k"])\n')
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "program.py").write_text(program)
            done = subprocess.run(["mypy", "--strict", "--cache-dir", folder, "program.py"], cwd=folder, env={**os.environ, "MYPYPATH": str(ROOM)},
                                  capture_output=True, text=True)
            revealed = [line.partition('"')[2].rstrip('"') for line in done.stdout.splitlines() if "Revealed" in line]
            self.assertEqual(revealed, ["builtins.bytes", "builtins.memoryview", "Union[builtins.str, builtins.bytes]"], done.stdout)

    def test_pip_installs_both(self):
        for module in ["pip", "setuptools", "wheel"]:
            if subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True).returncode:
                self.skipTest(f"needs python3-{module}")
        with tempfile.TemporaryDirectory() as folder:
            source, target = os.path.join(folder, "source"), os.path.join(folder, "target")
            shutil.copytree(ROOM, source, ignore=shutil.ignore_patterns("__pycache__"))
            done = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-build-isolation", "--no-deps", "--disable-pip-version-check",
                                   "--root-user-action=ignore", "--target", target, source], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            said = subprocess.run([sys.executable, "-c", "import maph, maph_client, importlib.metadata as m; print(maph.__file__, maph_client.__file__, m.version('maph'))"],
                                  cwd="/", env={**os.environ, "PYTHONPATH": target}, capture_output=True, text=True, check=True).stdout.split()
            self.assertEqual(said, [f"{target}/maph/__init__.py", f"{target}/maph_client/__init__.py", maph.__version__])
            self.assertTrue(all(os.path.exists(f"{target}/{package}/py.typed") for package in ["maph", "maph_client"]))

    def test_one_version(self):
        from maph.library import VERSION
        version = (TOP / "VERSION").read_text().strip()
        self.assertEqual({maph.__version__, maph_client.__version__, VERSION, maph.library_version}, {version})

    def test_nothing_but_the_standard_library(self):
        for package in ["maph", "maph_client"]:
            for path in (ROOM / package).glob("*.py"):
                for node in ast.walk(ast.parse(path.read_text())):
                    names = [one.name for one in node.names] if isinstance(node, ast.Import) else [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
                    for name in names:
                        self.assertIn(name.partition(".")[0], sys.stdlib_module_names, path)

    def test_all_is_there(self):
        for package in [maph, maph_client]:
            self.assertEqual([name for name in package.__all__ if not hasattr(package, name)], [])


if __name__ == "__main__":
    unittest.main()
