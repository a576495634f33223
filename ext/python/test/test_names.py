"""The two packages as their users read them: one thing has one name and one type in both, and all
that is public has a sentence and a type that says something."""

import ast
import datetime
import inspect
import json
import os
import pathlib
import re
import tempfile
import time
import unittest

from support import ROOM, TOP, ServerTest

import maph
import maph_client

PACKAGES = [maph, maph_client]


def is_ours(kind):
    return kind.__module__.partition(".")[0] in ("maph", "maph_client")


def public_classes(package):
    """Each once, exceptions and inherited ones too."""
    found = {}
    for name in package.__all__:
        one = getattr(package, name)
        if inspect.isclass(one):
            for kind in one.__mro__:
                found[kind] = None
    return list(found)


def members(kind):
    """What is public of a class and has code: (name, function)."""
    for name, member in vars(kind).items():
        member = member.fget if isinstance(member, property) else member
        member = member.__func__ if isinstance(member, (staticmethod, classmethod)) else member
        if not name.startswith("_") and callable(member) and not inspect.isclass(member):
            yield name, member


class Sources:
    """The names that a package's files define for types, and what its public names are annotated
    with: (place, annotations)."""

    def __init__(self, package):
        self.aliases, self.definitions = {}, []
        self.public = {kind.__name__ for kind in public_classes(package) if is_ours(kind)}
        self.public.update(package.__all__)
        for path in sorted((ROOM / package.__name__).glob("*.py*")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
                    self.aliases[ast.unparse(node.targets[0])] = node.value
                elif isinstance(node, ast.Module):
                    self.module(node, path.name)

    def module(self, module, place):
        for one in module.body:
            if getattr(one, "name", "") not in self.public:
                continue
            if isinstance(one, ast.FunctionDef):
                self.definitions.append((f"{place} {one.name}", self.annotations(one)))
            elif isinstance(one, ast.ClassDef):
                self.members(one, f"{place} {one.name}")

    def members(self, kind, place):
        """Special methods too."""
        for one in kind.body:
            name = ast.unparse(one.target) if isinstance(one, ast.AnnAssign) else ""
            if isinstance(one, ast.FunctionDef):
                name = one.name.strip("_") if one.name.startswith("__") else one.name
            if name and not name.startswith("_"):
                found = self.annotations(one) if hasattr(one, "args") else [one.annotation]
                self.definitions.append((f"{place}.{name}", found))

    @staticmethod
    def annotations(function):
        a = function.args
        every = [*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg]
        return [*(one.annotation for one in every if one), function.returns]

    def says_any(self, annotation):
        """Whether it is Any or has it inside, in a string or behind an alias."""
        if annotation is None:
            return False
        for node in ast.walk(annotation):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if self.says_any(ast.parse(node.value, mode="eval")):
                    return True
            name = getattr(node, "id", getattr(node, "attr", None))
            if name == "Any" or name in self.aliases and self.says_any(self.aliases[name]):
                return True
        return False


class Reading(unittest.TestCase):
    def test_every_public_name_has_a_docstring(self):
        bare = []
        for package in PACKAGES:
            for name in package.__all__:
                one = getattr(package, name)
                if callable(one) and not re.match(r"typing\.", repr(one)) and not one.__doc__:
                    bare.append(f"{package.__name__}.{name}")
            for kind in filter(is_ours, public_classes(package)):
                if not kind.__name__.startswith("_") and not vars(kind).get("__doc__"):
                    bare.append(f"{kind.__module__}.{kind.__name__}")
                bare += [
                    f"{kind.__module__}.{kind.__name__}.{name}"
                    for name, member in members(kind)
                    if not member.__doc__
                ]
        self.assertEqual(bare, [])

    def test_this_sees_what_it_looks_for(self):
        names = [name for kind in public_classes(maph) for name, _ in members(kind)]
        for name in ["close", "version", "keys", "get_many", "put", "popitem"]:
            self.assertIn(name, names)
        sources = Sources(maph_client)
        self.assertTrue(sources.says_any(ast.parse("Dict[str, 'Optional[Any]']", mode="eval")))
        sources.aliases["Loose"] = ast.parse("Dict[str, Any]", mode="eval")
        self.assertTrue(sources.says_any(ast.parse("List[Loose]", mode="eval")))
        self.assertFalse(sources.says_any(ast.parse("List[object]", mode="eval")))
        places = {place for place, _ in sources.definitions}
        for place in ["store.py MaphStore.put", "stats.py StoreStats.size", "batch.py Batch.init"]:
            self.assertIn(place, places)
        self.assertIn("store.py open", {place for place, _ in Sources(maph).definitions})

    def test_nothing_public_is_any(self):
        for package in PACKAGES:
            sources = Sources(package)
            loose = [
                place
                for place, annotations in sources.definitions
                if any(map(sources.says_any, annotations))
            ]
            self.assertEqual(loose, [], package.__name__)

    def test_the_figures_are_those_that_the_library_and_the_server_have(self):
        from maph import library

        def fields(struct):
            return {name for name, *_ in struct._fields_}

        self.assertEqual(set(maph.StoreStats.__annotations__), fields(library.Stats))
        self.assertEqual(set(maph.Rewrite.__annotations__), fields(library.Rewrite))
        schemas = json.loads((TOP / "server" / "openapi.json").read_text())["components"]["schemas"]
        for schema, kind in [
            ("Store", maph_client.StoreStats),
            ("Replica", maph_client.Replica),
            ("Job", maph_client.JobInfo),
            ("Rewrite", maph_client.Rewrite),
        ]:
            told = {name for name in schemas[schema]["properties"] if "_encoding" not in name}
            self.assertEqual(told - set(kind.__annotations__), set(), schema)

    def test_one_name_for_one_thing(self):
        def parameters(method):
            return {
                name: one.annotation
                for name, one in inspect.signature(method).parameters.items()
                if name not in ("self", "sync")
            }

        from maph.transaction import Writer

        here, there = parameters(Writer.put), parameters(maph_client.MaphStore.put)
        self.assertEqual(list(here), list(there))
        self.assertEqual(here, there)
        self.assertEqual(there, parameters(maph_client.Batch.put))
        self.assertEqual(set(maph.Entry._fields), set(maph_client.Entry.__dataclass_fields__))
        names = """Error MaphError NotFoundError KeyNotFoundError FullError StoreFullError
            TooBigError TooLargeError BusyError CompactedError CorruptError ReadOnlyError Change
            Changes Entry Key Problem Rewrite StoreStats Value"""
        for package in PACKAGES:
            self.assertEqual(set(names.split()) - set(package.__all__), set(), package.__name__)


class TheSameOfBoth(ServerTest):
    """What one program does with a store of either package."""

    def setUp(self):
        super().setUp()
        self.file = maph.open(f"{self.server.data}/{self.name}.maph", "w")
        self.addCleanup(self.file.close)
        self.both = [(maph, self.file), (maph_client, self.store)]

    def test_a_content_type_by_either_name(self):
        for _, store in self.both:
            for n, options in enumerate([{"content_type": "text/csv"}, {"media_type": "text/csv"}]):
                store.put(f"k{n}", "a,b", **options)
                for _, other in self.both:
                    entry = other.entry(f"k{n}")
                    self.assertEqual((entry.content_type, entry.media_type), ("text/csv",) * 2)
            with self.assertRaisesRegex(ValueError, "one thing"):
                store.put("k", "v", content_type="text/csv", media_type="image/png")
            with self.assertRaisesRegex(TypeError, "content_type is a str, not bytes"):
                store.put("k", "v", content_type=b"text/csv")
            store.put("same", "v", content_type="text/csv", media_type="text/csv")

    def test_an_expiry_in_seconds_and_in_milliseconds(self):
        late = int(time.time() * 1000) + 10**9
        for _, store in self.both:
            written = store.put("k", "v", ttl=999.5)
            self.assertEqual(written.created, store is self.file)
            self.assertEqual(written.existed, store is not self.file)
            left = store.entry("k").expires_at / 1000 - time.time()
            self.assertTrue(0 < left <= 1000.1, left)
            store.put("k", "[1]", expires_at=late, type="json")
            for _, other in self.both:
                entry = other.entry("k")
                self.assertEqual((entry.expires_at, entry.type), (late, "json"))
            self.assertNotIn("gone", store)
            store.put("gone", "v", expires_at=0)
            self.assertNotIn("gone", store)
            for wrong in [dict(ttl=1, expires_at=1), dict(ttl=float("nan")), dict(type="tall")]:
                self.assertRaises(ValueError, store.put, "k", "v", **wrong)
        self.assertEqual(self.store.batch().put("b", "v", expires_at=late).commit()[0].status, 201)
        self.assertEqual(self.file.entry("b").expires_at, late)

    def test_a_part_of_a_second_is_rounded_up(self):
        now = time.time() * 1000
        self.store.put("k", "v", ttl=10**6 + 0.001)
        self.store.increment("n", ttl=10**6 + 0.001)
        self.store.merge("j", {}, ttl=10**6 + 0.001)
        self.store.batch().put("b", "v", ttl=10**6 + 0.001).commit()
        for key in ["k", "n", "j", "b"]:
            self.assertGreaterEqual(self.file.entry(key).expires_at, int(now) + 1000 * (10**6 + 1))
        for ttl in [0, -0.5, -1.5]:
            self.assertRaises(maph_client.BadRequestError, self.store.put, "k", "v", ttl=ttl)

    def test_what_is_out_of_bounds(self):
        for _, store in self.both:
            for ttl in [float("inf"), 1e15]:
                store.put("k", "v", ttl=ttl)
                self.assertGreater(store.entry("k").expires_at, time.time() * 1000 + 10**13)
            store.put("k", "v", expires_at=2**80)
            self.assertEqual(store.entry("k").expires_at, 2**63 - 1)
            for wrong in [
                dict(if_version=-1),
                dict(if_version=1, if_absent=True),
                dict(if_version=1, if_present=True, type="text"),
                dict(if_absent=1, if_present=1, expires_at=1),
            ]:
                with self.assertRaisesRegex(ValueError, "^(one of )?if_version"):
                    store.put("k", "v", **wrong)

    def test_what_is_of_the_wrong_type_says_which(self):
        an_hour = datetime.timedelta(hours=1)
        for _, store in self.both:
            for words, wrong in [
                ("ttl is a number of seconds, not str", dict(ttl="60")),
                ("total_seconds", dict(ttl=an_hour)),
                ("expires_at is a whole number.*, not float", dict(expires_at=1.5)),
                ("if_version is a whole number, not str", dict(if_version="7")),
                ("if_version is a whole number, not float", dict(if_version=7.5)),
            ]:
                self.assertRaisesRegex(TypeError, words, store.put, "k", "v", **wrong)
            for wrong in [lambda: store[1], lambda: store.put("k", {"a": 1})]:
                self.assertRaisesRegex(TypeError, "str or bytes, not .*json.dumps", wrong)
            self.assertRaisesRegex(TypeError, "by is a whole number", store.increment, "k", "1")
            self.assertRaisesRegex(TypeError, "since is a whole number", store.changes, "1")
            self.assertEqual(len(store), 0)
        for read in [self.store.scan, self.store.export, self.store.scan_keys]:
            words = "the bound from is str or bytes"
            self.assertRaisesRegex(TypeError, words, list, read(from_=7))
            self.assertEqual(list(read(from_=None, to=None)), [])
        for words, wrong in [
            ("a store's name is a str", lambda: self.client.store(7)),
            ("URL is a str", lambda: maph_client.MaphClient(None)),
            ("a token is a str, not bytes", lambda: maph_client.MaphClient(token=b"secret")),
            ("timeout is a number of seconds", lambda: maph_client.MaphClient(timeout="5")),
            ("a pair of key and value.* not str", lambda: self.store.import_entries(["abc"])),
            ("a line is bytes, not str", lambda: self.store.import_lines(["{}"])),
            ("uuid is a uuid.UUID, not str", lambda: maph.open("no", "c", uuid="a")),
        ]:
            self.assertRaisesRegex(TypeError, words, wrong)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "s.maph")
            wait = "busy_timeout is a number of seconds"
            self.assertRaisesRegex(TypeError, wait, maph.open, path, "c", busy_timeout="5")
            keys = "expected_keys is a whole number"
            self.assertRaisesRegex(TypeError, keys, maph.open, path, "c", expected_keys=1e6)
            self.assertFalse(pathlib.Path(path).exists())

    def test_errors_changes_and_figures(self):
        for package, store in self.both:
            with self.assertRaises(package.NotFoundError) as caught:
                store["missing"]
            self.assertIsInstance(caught.exception, package.KeyNotFoundError)
            self.assertIsInstance(caught.exception, KeyError)
            for error in [package.Error, package.MaphError, ValueError]:
                self.assertRaises(error, store.put, "x" * 65536, "v")
            since = self.store.stats().version
            store["k"] = "v"
            with store.changes(since) as changes:
                change = next(changes)
            entry = store.entry("k")
            self.assertEqual((change.key, change.value), (change.entry.key, entry.value))
            self.assertEqual((change.version, change.deleted), (entry.version, False))
            self.assertEqual(change.key, entry.key)
            self.assertEqual(store.pop("missing", None), None)
            self.assertEqual(store.pop("missing", default=3), 3)
            self.assertRaises(KeyError, store.pop, "missing")
            self.assertFalse(store.setdefault(f"empty {package.__name__}"))
        file, http = self.file.stats(), self.store.stats()
        for name in ["records", "file_bytes", "version", "generation", "uuid", "segments"]:
            self.assertEqual(file[name], getattr(http, name), name)
        self.assertEqual(http.versions, file["versions"])
        self.assertEqual((http.perfect_hash, http.replica, http.error), ("none", None, ""))
        self.assertEqual(set(http.raw) - set(maph_client.StoreStats.__annotations__), set())
        self.assertEqual({name: getattr(http, name) for name in http.raw}, http.raw)

    def test_figures_of_a_replica_and_of_a_broken_store(self):
        kind = maph_client.StoreStats
        told = {"name": "r", "replica": {"bucket": "/w==", "bucket_encoding": "base64", "new": 1}}
        told["replica"].update(lag_seconds=None, position=7, last_error="")
        replica = kind.from_json(told).replica
        self.assertEqual((replica.bucket, replica.position, replica.raw["new"]), ("\ufffd", 7, 1))
        broken = kind.from_json({"name": "b", "error": {"code": "corrupt", "detail": "why"}})
        self.assertEqual((broken.error, broken.size), ("why", 0))


if __name__ == "__main__":
    unittest.main()
