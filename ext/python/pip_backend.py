"""pip_backend.py - what pip asks for a wheel of this folder: nothing but the standard library, so
that an installation needs no network.

A wheel is a zip file of the packages, of METADATA, which says what they are, and of RECORD, which
lists every file with its digest.  An editable one has a .pth file in place of the packages: the
folder goes on sys.path.
"""

import base64
import hashlib
import io
import pathlib
import re
import tarfile
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
WHEEL = "Wheel-Version: 1.0\nGenerator: maph\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def sources():
    return [
        path
        for package in PACKAGES
        for path in sorted((HERE / package).iterdir())
        if path.suffix == ".py" or path.name == "py.typed"
    ]


def wheel(folder, files):
    """Write the wheel of {name: bytes}; its name."""
    info = f"{NAME}.dist-info"
    files = {**files, f"{info}/METADATA": METADATA.encode(), f"{info}/WHEEL": WHEEL.encode()}
    lines = []
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}\n")
    files[f"{info}/RECORD"] = "".join([*lines, f"{info}/RECORD,,\n"]).encode()
    file = f"{NAME}-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder, file), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(
                zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED
            )  # whose date is always the same
    return file


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return wheel(
        wheel_directory,
        {path.relative_to(HERE).as_posix(): path.read_bytes() for path in sources()},
    )


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return wheel(wheel_directory, {"maph.pth": f"{HERE}\n".encode()})


def build_sdist(sdist_directory, config_settings=None):
    file = f"{NAME}.tar.gz"
    with tarfile.open(pathlib.Path(sdist_directory, file), "w:gz") as archive:
        for path in [
            *sources(),
            *(HERE / name for name in ["README.md", "pyproject.toml", "pip_backend.py"]),
        ]:
            archive.add(path, f"{NAME}/{path.relative_to(HERE)}")
        about = tarfile.TarInfo(f"{NAME}/PKG-INFO")
        about.size = len(METADATA.encode())
        archive.addfile(about, io.BytesIO(METADATA.encode()))
    return file
