"""What the tests stand on: the products under test, a server on a port of its own, and skips that
say what they need.

MAPH_TEST_BUILD is the folder of the products (make test sets it), the top's build/ otherwise.
MAPH_TEST_PACKAGES is where the packages are: the sources, which go by ctypes, or BUILD/python,
where the compiled part is beside them.
"""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
import warnings

HERE = pathlib.Path(__file__).resolve().parent
ROOM = HERE.parent
TOP = ROOM.parent.parent
BUILD = pathlib.Path(os.environ.get("MAPH_TEST_BUILD", TOP / "build"))
SERVER = BUILD / "maph-server"
os.environ.setdefault("MAPH_LIBRARY", str(BUILD / "libmaph.so.0"))
PACKAGES = os.environ.get("MAPH_TEST_PACKAGES", str(ROOM))
sys.path.insert(0, PACKAGES)


def fork():
    """os.fork without Python's warning of fork beside threads: that is what is tested."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


class Server:
    """maph-server over a fresh folder, on a port that stays its own while it is halted: a socket
    that is bound and does not listen keeps it from all others."""

    def __init__(self, *arguments):
        self.folder = tempfile.mkdtemp(prefix="maph-python.")
        self.data = os.path.join(self.folder, "data")
        os.mkdir(self.data)
        self.process = None
        self.holder = socket.socket()
        self.holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.holder.bind(("127.0.0.1", 0))
        self.port = self.holder.getsockname()[1]
        self.arguments = arguments
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [
                SERVER,
                "--data",
                self.data,
                "--listen",
                f"127.0.0.1:{self.port}",
                "--access-log",
                "off",
                *self.arguments,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        said = b""
        for line in self.process.stderr:
            said += line
            if b"http://127.0.0.1:" in line:
                self.rest = threading.Thread(target=self.process.stderr.read, daemon=True)
                self.rest.start()
                return
        raise RuntimeError(f"maph-server does not start: {said.decode()}")

    def halt(self):
        self.process.terminate()
        self.process.wait(60)
        self.rest.join()
        self.process.stderr.close()

    def stop(self):
        self.halt()
        self.holder.close()
        shutil.rmtree(self.folder)

    @property
    def url(self):
        return f"http://localhost:{self.port}"


class ServerTest(unittest.TestCase):
    """A test case with a server and a client of it."""

    arguments = ()

    @classmethod
    def setUpClass(cls):
        from maph_client import MaphClient

        cls.server = Server(*cls.arguments)
        cls.addClassCleanup(cls.server.stop)
        cls.client = MaphClient(cls.server.url)
        cls.addClassCleanup(cls.client.close)

    def setUp(self):
        self.name = re.sub(r"\W", "-", self.id().rpartition(".")[2])[:60]
        self.store = self.client.create_store(self.name)


def needs_route(pattern):
    """Skip while the server has no such route in its table."""
    if f'"{pattern}"' not in (TOP / "server" / "routes.c").read_text():
        raise unittest.SkipTest(f"needs a server with {pattern}")
