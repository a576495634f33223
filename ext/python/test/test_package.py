"""The packages as others get them: types that mypy believes, an installation by pip, one version
everywhere, no dependency."""

import ast
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import unittest
import zipfile

from support import ROOM, TOP

import maph
import maph_client


def can_compile():
    return (
        pathlib.Path(sysconfig.get_path("include"), "Python.h").is_file()
        and sys.version_info >= (3, 11)
        and shutil.which("cc") is not None
    )


class Package(unittest.TestCase):
    def test_types(self):
        if not shutil.which("mypy"):
            self.skipTest("needs mypy")
        # One release of mypy needs a remark that another finds needless.
        mypy = ["mypy", "--strict", "--no-warn-unused-ignores"]
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [*mypy, "--cache-dir", folder, "maph", "maph_client"],
                cwd=ROOM,
                capture_output=True,
                text=True,
            )
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_a_typed_program_sees_the_types(self):
        if not shutil.which("mypy"):
            self.skipTest("needs mypy")
        program = (
            'import maph\nfrom maph_client import MaphClient\n'
            'reveal_type(maph.open("x")["k"])\n'
            'reveal_type(maph.open("x").view("k"))\n'
            'reveal_type(MaphClient().get_store("s")["k"])\n'
            'reveal_type(next(maph.open("x").cursor()).value)\n'
            'reveal_type(next(maph.open("x").range(views=True)).value)\n'
            'reveal_type(maph.open("x").get("k"))\n'
            'reveal_type(maph.open("x").pop("k", 1))\n'
            'reveal_type(maph.open("x").stats()["records"])\n'
            'reveal_type(MaphClient().get_store("s").optimize()["result"]["bytes_after"])\n'
            'maph.open("x").update({"a": "b"}, c=b"d")\n'
            'maph.open("x").update([(b"a", "b")])\n'
            'MaphClient().get_store("s").update({"a": "b"}, c=b"d")\n'
        )
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "program.py").write_text(program)
            done = subprocess.run(
                ["mypy", "--strict", "--cache-dir", folder, "program.py"],
                cwd=folder,
                env={**os.environ, "MYPYPATH": str(ROOM)},
                capture_output=True,
                text=True,
            )
            revealed = [
                # A later mypy says what a memoryview holds.
                line.partition('"')[2].rstrip('"').replace("memoryview[builtins.int]", "memoryview")
                for line in done.stdout.splitlines()
                if "Revealed" in line
            ]
            self.assertEqual(
                revealed,
                [
                    "builtins.bytes",
                    "builtins.memoryview",
                    "Union[builtins.str, builtins.bytes]",
                    "builtins.bytes",
                    "builtins.memoryview",
                    "Union[builtins.bytes, None]",
                    "Union[builtins.bytes, builtins.int]",
                    "builtins.int",
                    "builtins.int",
                ],
                done.stdout,
            )
            self.assertEqual(done.returncode, 0, done.stdout)

    def in_a_new_environment(self, folder, *arguments):
        """A virtual environment that has nothing, and its python once pip has installed there,
        without a network."""
        if subprocess.run(
            [sys.executable, "-c", "import pip, venv"], capture_output=True
        ).returncode:
            self.skipTest("needs python3-pip")
        place = os.path.join(folder, "environment")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
        python = os.path.join(place, "bin", "python")
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "--python",
                python,
                "--disable-pip-version-check",
                "install",
                "--quiet",
                "--no-index",
                *arguments,
            ],
            capture_output=True,
            text=True,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return python

    def run_there(self, python, program):
        return subprocess.run(
            [python, "-c", program],
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        ).stdout.split()

    def test_pip_installs_both(self):
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "source")
            shutil.copytree(ROOM, source, ignore=shutil.ignore_patterns("__pycache__"))
            before = sorted(os.listdir(source))
            python = self.in_a_new_environment(folder, source)
            self.assertEqual(sorted(set(os.listdir(source)) - {"__pycache__"}), before)
            shutil.rmtree(source)
            program = (
                "import maph, maph_client, importlib.metadata as m, os, tempfile\n"
                "print(maph.__file__, maph_client.__file__, m.version('maph'), "
                "len(m.files('maph')))\n"
                "with tempfile.TemporaryDirectory() as folder, maph.open(folder + '/s.maph', 'c') "
                "as store: store['k'] = 'v'; print(store['k'].decode())"
            )
            *files, version, count, value = self.run_there(python, program)
            self.assertTrue(
                all(
                    file.startswith(os.path.join(folder, "environment") + os.sep) for file in files
                ),
                files,
            )
            self.assertEqual((version, value), (maph.__version__, "v"))
            self.assertGreater(int(count), 20)
            if not shutil.which("mypy"):
                self.skipTest("needs mypy")
            pathlib.Path(folder, "program.py").write_text(
                'import maph\nfrom maph_client import MaphClient\n'
                'def size(key: str) -> int:\n    return len(maph.open("x")[key]) + '
                'len(MaphClient().store("s")[key])\n'
            )
            checked = subprocess.run(
                [
                    "mypy",
                    "--strict",
                    "--python-executable",
                    python,
                    "--cache-dir",
                    folder,
                    "program.py",
                ],
                cwd=folder,
                capture_output=True,
                text=True,
            )
            self.assertEqual(checked.returncode, 0, checked.stdout)

    def test_pip_installs_a_folder_that_is_worked_on(self):
        with tempfile.TemporaryDirectory() as folder:
            python = self.in_a_new_environment(folder, "--editable", str(ROOM))
            self.assertEqual(
                self.run_there(python, "import maph_client; print(maph_client.__file__)"),
                [str(ROOM / "maph_client" / "__init__.py")],
            )

    def test_pip_installs_what_was_packed(self):
        with tempfile.TemporaryDirectory() as folder:
            packed = subprocess.run(
                [
                    sys.executable,
                    "-c",
                    "import pip_backend, sys; print(pip_backend.build_sdist(sys.argv[1]))",
                    folder,
                ],
                cwd=ROOM,
                check=True,
                capture_output=True,
                text=True,
            ).stdout.strip()
            python = self.in_a_new_environment(folder, os.path.join(folder, packed))
            self.assertEqual(
                self.run_there(python, "import maph; print(maph.__version__, maph.compiled)"),
                [maph.__version__, str(can_compile())],
            )

    def build(self, folder, settings="None", **environment):
        """pip_backend's wheel: the run, and the names in it."""
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                f"import pip_backend; print(pip_backend.build_wheel({folder!r}, {settings}))",
            ],
            cwd=ROOM,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )
        names = []
        if done.returncode == 0:
            with zipfile.ZipFile(os.path.join(folder, done.stdout.strip())) as archive:
                names = archive.namelist()
        return done, names

    def test_wheels(self):
        with tempfile.TemporaryDirectory() as folder:
            done, names = self.build(folder, "{'compiled': 'no'}")
            self.assertEqual(done.stdout.strip(), f"maph-{maph.__version__}-py3-none-any.whl")
            self.assertNotIn("maph/_maph.abi3.so", names)
            done, names = self.build(folder, CC="/no/such/compiler")
            self.assertEqual(done.stdout.strip(), f"maph-{maph.__version__}-py3-none-any.whl")
            self.assertRegex(done.stderr, "goes by ctypes, since .*/no/such/compiler")
            done, names = self.build(folder, "{'compiled': 'yes'}", CC="/no/such/compiler")
            self.assertNotEqual(done.returncode, 0)
            done, names = self.build(folder, "{'compiled': 'perhaps'}")
            self.assertRegex(done.stderr, "compiled is auto, no or yes, not perhaps")
            if not can_compile():
                self.skipTest("needs python3-dev")
            done, names = self.build(folder, "{'compiled': 'yes'}")
            self.assertRegex(done.stdout, r"^maph-[\d.]+-cp311-abi3-linux_\w+\.whl$")
            self.assertIn("maph/_maph.abi3.so", names)
            self.assertIn("maph/_maph.pyi", names)

    def test_one_version(self):
        from maph.library import VERSION

        version = (TOP / "VERSION").read_text().strip()
        self.assertEqual(
            {maph.__version__, maph_client.__version__, VERSION, maph.library_version}, {version}
        )

    def test_nothing_but_the_standard_library(self):
        for package in ["maph", "maph_client"]:
            for path in (ROOM / package).glob("*.py"):
                for node in ast.walk(ast.parse(path.read_text())):
                    names = (
                        [one.name for one in node.names]
                        if isinstance(node, ast.Import)
                        else [node.module]
                        if isinstance(node, ast.ImportFrom) and not node.level
                        else []
                    )
                    for name in names:
                        self.assertIn(name.partition(".")[0], sys.stdlib_module_names, path)

    def test_all_is_there(self):
        for package in [maph, maph_client]:
            self.assertEqual([name for name in package.__all__ if not hasattr(package, name)], [])


if __name__ == "__main__":
    unittest.main()
