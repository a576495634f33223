"""pip_backend.py - what pip asks for a wheel of this folder: nothing but the standard library, so
that an installation needs no network.

Where there is a C compiler, and Python's headers, the wheel has the compiled part of the package
maph too, for this kind of machine and every Python from 3.11 on; else it is for any machine, and
the package goes by ctypes.  `--config-settings compiled=no` asks for that, `compiled=yes` for an
error where it cannot be compiled.

A wheel is a zip file of the packages, of METADATA, which says what they are, and of RECORD, which
lists every file with its digest.  An editable one has a .pth file in place of the packages: the
folder goes on sys.path.
"""

import base64
import hashlib
import io
import os
import pathlib
import re
import shlex
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
PACKAGES = ["maph", "maph_client"]
VERSION = re.search(
    r'^__version__ = "(.*)"$', (HERE / "maph_client" / "__init__.py").read_text(), re.M
).group(1)
NAME = f"maph-{VERSION}"
METADATA = f"""Metadata-Version: 2.1
Name: maph
Version: {VERSION}
Summary: maph, a key-value store in one mmap file: an HTTP client, and bindings that read the file
itself
License: MIT
Requires-Python: >=3.10
Classifier: Programming Language :: Python :: 3
Classifier: Operating System :: POSIX :: Linux
Classifier: Topic :: Database
Classifier: Typing :: Typed
Description-Content-Type: text/markdown

{(HERE / "README.md").read_text(encoding="utf-8")}"""
PURE = "py3-none-any"
COMPILED = "maph/_maph.abi3.so"


def sources():
    return [
        path
        for package in PACKAGES
        for path in sorted((HERE / package).iterdir())
        if path.suffix in (".py", ".pyi") or path.name == "py.typed"
    ]


def header():
    """maph.h: beside the sources of the compiled part, as packed, or in the checkout."""
    for path in [HERE / "compiled" / "maph.h", HERE.parent.parent / "core" / "maph.h"]:
        if path.is_file():
            return path
    raise OSError("there is no maph.h")


def compile_module(folder):
    """The bytes of the compiled part.  OSError, CalledProcessError: it cannot be compiled here."""
    if sys.version_info < (3, 11) or sys.implementation.name != "cpython":
        raise OSError("the compiled part is for CPython 3.11 and later")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise OSError("the compiled part needs the interpreter lock")
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    made = pathlib.Path(folder, "_maph.abi3.so")
    subprocess.run(
        [
            *shlex.split(compiler),
            *["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-DNDEBUG", "-fPIC", "-fvisibility=hidden"],
            *shlex.split(os.environ.get("CFLAGS", "")),
            *["-shared", "-o", str(made), "-I", sysconfig.get_path("include")],
            *["-I", str(header().parent)],
            *sorted(str(path) for path in (HERE / "compiled").glob("*.c")),
            *shlex.split(os.environ.get("LDFLAGS", "")),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return made.read_bytes()


def compiled_files(settings):
    """{name: bytes} of the compiled part, or nothing."""
    wanted = (settings or {}).get("compiled", "auto")
    if wanted not in ("auto", "no", "yes"):
        raise ValueError(f"compiled is auto, no or yes, not {wanted}")
    if wanted == "no":
        return {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            return {COMPILED: compile_module(folder)}
    except (OSError, subprocess.CalledProcessError) as error:
        if wanted == "yes":
            raise
        said = getattr(error, "stderr", None) or str(error)
        print(f"maph goes by ctypes, since nothing was compiled: {said}", file=sys.stderr)
        return {}


def tag_of(files):
    """What the wheel is for."""
    if COMPILED not in files:
        return PURE
    return "cp311-abi3-" + re.sub(r"[-.]", "_", sysconfig.get_platform())


def wheel(folder, files):
    """Write the wheel of {name: bytes}; its name."""
    info, tag = f"{NAME}.dist-info", tag_of(files)
    about = f"Wheel-Version: 1.0\nGenerator: maph\nRoot-Is-Purelib: {str(tag == PURE).lower()}\n"
    about += f"Tag: {tag}\n"
    files = {**files, f"{info}/METADATA": METADATA.encode(), f"{info}/WHEEL": about.encode()}
    lines = []
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}\n")
    files[f"{info}/RECORD"] = "".join([*lines, f"{info}/RECORD,,\n"]).encode()
    file = f"{NAME}-{tag}.whl"
    with zipfile.ZipFile(pathlib.Path(folder, file), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(
                zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED
            )  # whose date is always the same
    return file


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    files = {path.relative_to(HERE).as_posix(): path.read_bytes() for path in sources()}
    return wheel(wheel_directory, {**files, **compiled_files(config_settings)})


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return wheel(wheel_directory, {"maph.pth": f"{HERE}\n".encode()})


def build_sdist(sdist_directory, config_settings=None):
    file = f"{NAME}.tar.gz"
    with tarfile.open(pathlib.Path(sdist_directory, file), "w:gz") as archive:
        for path in [
            *sources(),
            *sorted((HERE / "compiled").glob("*.[ch]")),
            *(HERE / name for name in ["README.md", "pyproject.toml", "pip_backend.py"]),
        ]:
            archive.add(path, f"{NAME}/{path.relative_to(HERE)}")
        if not (HERE / "compiled" / "maph.h").is_file():
            archive.add(header(), f"{NAME}/compiled/maph.h")
        about = tarfile.TarInfo(f"{NAME}/PKG-INFO")
        about.size = len(METADATA.encode())
        archive.addfile(about, io.BytesIO(METADATA.encode()))
    return file
