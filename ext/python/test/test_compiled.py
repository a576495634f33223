"""What is compiled of the package maph: that it is what runs, and what C alone can get wrong.  All
that the package promises is in test_store, which runs with and without it."""

import gc
import inspect
import os
import signal
import sys
import tempfile
import threading
import time
import unittest

from support import fork

import maph
from maph import cursor, fast, reader, transaction


@unittest.skipUnless(maph.compiled, "the compiled part is not beside these packages")
class CompiledTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="maph-python.")
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "s.maph")
        self.store = maph.open(self.path, "c")
        self.addCleanup(self.close)

    def close(self):
        gc.collect()
        self.store.close()


class Which(CompiledTest):
    def test_the_compiled_methods_are_those_that_are_called(self):
        kinds = {
            maph.Store: "__getitem__ __contains__ get view entry get_many view_many put delete",
            maph.Snapshot: "__getitem__ __contains__ get view entry get_many view_many",
            maph.Transaction: "__getitem__ __contains__ get view entry put delete",
            maph.Cursor: "__next__ __iter__",
            maph.Range: "__next__ __iter__ previous",
        }
        for kind, names in kinds.items():
            for name in names.split():
                self.assertFalse(inspect.isfunction(getattr(kind, name)), (kind, name))

    def test_what_each_kind_lacks_in_python_it_lacks_here(self):
        for kind, names in {
            maph.Snapshot: "put delete __setitem__ __delitem__",
            maph.Transaction: "get_many view_many",
            maph.Cursor: "get view put __getitem__",
            maph.Range: "get view put __getitem__ tell",
        }.items():
            for name in names.split():
                self.assertFalse(hasattr(kind, name), (kind, name))

    def test_what_is_given_is_the_same_where_the_python_method_gives_it(self):
        class Taken:
            """A turn that another thread has, as a try finds it."""

            def acquire(self, _):
                return False

            def release(self):
                raise AssertionError("released what was not taken")

        class Waiting(maph.Cursor):
            def _connect(self, gate, kind, store, token, _, shared, values):
                super()._connect(gate, kind, store, token, Taken(), shared, values)

        self.store["a"] = "1"
        self.store["b"] = "2"
        for given, what, all_of_it in (
            (self.store, fast.KEYS, [b"a", b"b"]),
            (self.store.values(), fast.VALUES, [b"1", b"2"]),
            (self.store.items(), fast.PAIRS, [(b"a", b"1"), (b"b", b"2")]),
        ):
            self.assertIsInstance(iter(given), maph.Cursor)
            waiting = Waiting(self.store, None, b"", False)._give(what)
            for steps in iter(given), waiting:
                got = list(steps)
                self.assertEqual(got, all_of_it)
                self.assertEqual([type(one) for one in got], [type(one) for one in all_of_it])

    def test_another_interpreter_of_the_process_goes_without(self):
        try:
            import _interpreters as interpreters

            other = interpreters.create("legacy")
        except ImportError:  # its name before Python 3.13
            import _xxsubinterpreters as interpreters

            other = interpreters.create(isolated=False)
        failed = interpreters.run_string(
            other,
            f"import sys; sys.path[:] = {sys.path!r}; import maph\n"
            f"with maph.open({self.path!r}) as store: assert 'a' not in store\n"
            "assert not maph.compiled",
        )
        self.assertIsNone(failed)
        interpreters.destroy(other)
        with self.assertRaises(maph.NotFoundError):
            self.store["a"]

    def parameters(self, method):
        """But for self, whose name is not for callers."""
        return [
            (one.name, one.kind, one.default)
            for one in inspect.signature(method).parameters.values()
        ][1:]

    def test_both_take_the_same_arguments_and_say_the_same(self):
        for kind, plain in [
            (fast.Reader, reader.Reader),
            (fast.ManyReader, reader.ManyReader),
            (fast.Writer, transaction.Writer),
            (fast.Cursor, cursor.PlainCursor),
            (fast.Range, cursor.PlainRange),
        ]:
            for name in vars(kind):
                if name.startswith("_"):
                    continue
                here, there = getattr(kind, name), getattr(plain, name)
                self.assertEqual(self.parameters(here), self.parameters(there), name)
                self.assertEqual(here.__doc__.split(), there.__doc__.split(), name)

    def test_every_call_is_left_to_python_where_it_is_not_plain(self):
        store = self.store
        store["k"] = "v"
        self.assertEqual(store.get(key="k"), b"v")
        self.assertEqual(store.get("none", default=1), 1)
        self.assertEqual(store.view(key="k"), b"v")
        self.assertEqual(store.entry(key="k").value, b"v")
        keys = ["k", bytearray(b"k"), memoryview(b"z")]
        self.assertEqual(store.get_many(keys=keys), [b"v", b"v", None])
        self.assertEqual(store.put(key="k", value="w").existed, True)
        self.assertEqual(store.delete(key="k").existed, True)
        for wrong in [
            lambda: store.get(),
            lambda: store.get("a", 1, 2),
            lambda: store.get("k", other=1),
            lambda: store.view(),
            lambda: store.entry("a", "b"),
            lambda: store.get_many(),
            lambda: store.get_many(1),
            lambda: store.put("k"),
            lambda: store.put("k", "v", "w"),
            lambda: store.delete(),
        ]:
            self.assertRaises(TypeError, wrong)

    def test_a_class_of_ones_own(self):
        class Mine(maph.Store):
            def __getitem__(self, key):
                return b"<" + super().__getitem__(key) + b">"

        mine = maph.open(self.path, "w")
        mine.__class__ = Mine
        mine["k"] = "v"
        self.assertEqual((mine["k"], mine.get("k")), (b"<v>", b"v"))
        mine.close()

    def test_parts_that_are_no_part_of_anything(self):
        for kind in [fast.Reader, fast.ManyReader, fast.Writer, fast.Cursor, fast.Range]:
            part = kind()
            for fails in [
                lambda: part["k"],
                lambda: part.get("k"),
                lambda: part.put("k", "v"),
                lambda: part.get_many(["k"]),
                lambda: next(part),
                lambda: part.previous(),
            ]:
                self.assertRaises((AttributeError, TypeError), fails)
        with self.assertRaises(ValueError):
            self.store._connect(self.store._gate, 0, None, None, None, True, 1)


class Memory(CompiledTest):
    def test_no_object_is_kept_or_lost(self):
        """The same work again and again takes no more objects; what was handed in is held as often
        as before."""
        store, big = self.store, os.urandom(100000)
        keys = [f"key {n}" for n in range(300)]
        store.update({key: key for key in keys})
        held, missing, default = store.snapshot(), "none", object()

        def work():
            store["k"] = big
            store["k"], store.get("k"), store.get(missing), store.get(missing, default)
            store.view("k"), store.view("k")[1:], store.entry("k"), "k" in store, missing in store
            store.get_many(keys), store.get_many(iter(keys[:3])), store.view_many(keys + [missing])
            store.put("k", b"v"), store.delete("k")
            store["k"] = "v"
            del store["k"]
            held["key 1"], held.get_many(keys), held.view("key 1"), held.entry("key 1")
            list(held.cursor()), list(held.cursor(views=True)), list(held), list(store.items())
            list(store.range("key 1", "key 2")), list(held.prefix("key", views=True, limit=9))
            around = held.range("key 2", reverse=True)
            next(around), around.previous(), around.previous(), around.seek("key 4"), next(around)
            with store.transaction() as inside:
                inside["a"] = big
                inside["a"], inside.view("a"), inside.entry("a")
                with inside.snapshot() as seen:
                    seen["a"], seen.view("a"), list(seen.cursor("a", views=True))
                    list(seen.range(views=True)), list(inside.prefix("a"))
                inside.put("b", b"")
                del inside["b"]
            for fails in [
                lambda: store[missing],
                lambda: store.view(missing),
                lambda: store.delete(missing),
                lambda: store.put("", b""),
                lambda: store.get_many([1]),
                lambda: store[1],
            ]:
                try:
                    fails()
                except (KeyError, ValueError, TypeError):
                    pass

        counted = [big, missing, default, *keys[:5], store._gate, type(store), fast.Reader]

        def references():
            gc.collect()
            return [sys.getrefcount(one) for one in counted]

        def growth():
            """Of the allocated blocks in 40 rounds."""
            blocks = sys.getallocatedblocks()
            for _ in range(40):
                work()
            gc.collect()
            return sys.getallocatedblocks() - blocks

        work()
        before = references()
        # Free lists fill up, and what an earlier test left may still go; what is lost in each round
        # is lost in all of them.
        self.assertLess(min(growth() for _ in range(6)), 40)
        held_more = [now - then for now, then in zip(references(), before)]
        self.assertEqual([more for more in held_more if abs(more) >= 40], [])
        held.close()

    def test_the_collector_sees_through_views_and_stores(self):
        store = maph.open(self.path, "w")
        store["k"] = "v"
        store.circle = [store]
        token = store._gate
        before = sys.getrefcount(token)
        store.close()
        del store
        gc.collect()
        self.assertEqual(sys.getrefcount(token), 2)
        self.assertLess(2, before)
        view = self.store.view
        self.store["k"] = "v"
        window = view("k")
        self.assertTrue(gc.is_tracked(window.obj))
        self.assertIn(self.store, gc.get_referents(window.obj))
        window.release()

    def test_a_view_in_a_circle_with_its_store(self):
        """Whoever breaks the circle cannot close the store under its view; nothing crashes."""
        sys_hook, said = sys.unraisablehook, []
        sys.unraisablehook = said.append
        self.addCleanup(setattr, sys, "unraisablehook", sys_hook)
        self.store["k"] = "v" * 1000
        for _ in range(20):
            other = maph.open(self.path)
            other.circle = other.view("k")
            del other
        gc.collect()
        self.assertEqual(said, [])


class Threads(CompiledTest):
    def wait_until(self, what):
        ends = time.monotonic() + 60
        while not what() and time.monotonic() < ends:
            time.sleep(0.001)
        self.assertTrue(what())

    def test_a_put_that_waits_lets_other_threads_run(self):
        """And close() waits for it."""
        other = maph.open(self.path, "w", busy_timeout=300)
        holder, done = self.store.transaction(), []
        thread = threading.Thread(target=lambda: done.append(other.put("k", b"v")))
        thread.start()
        self.wait_until(lambda: other._gate._busy == 1)
        self.assertEqual(done, [])
        self.assertEqual(self.store.get("k"), None)  # this thread runs
        maph.gate.GRACE, grace = 0.01, maph.gate.GRACE
        try:
            with self.assertRaisesRegex(maph.BusyError, "another thread is in a call on it"):
                other.close()
        finally:
            maph.gate.GRACE = grace
        holder.commit()
        thread.join()
        self.assertEqual((done[0].existed, other._gate._busy), (False, 0))
        other.close()

    def test_interrupt_ends_a_put_that_waits(self):
        other = maph.open(self.path, "w", busy_timeout=300)
        self.addCleanup(other.close)
        said = []

        def put():
            try:
                other["k"] = "v"
            except maph.CancelledError as error:
                said.append(error)

        with self.store.transaction():
            thread = threading.Thread(target=put)
            thread.start()
            while thread.is_alive():
                other.interrupt()
                thread.join(0.01)
        self.assertEqual(len(said), 1)

    def test_reads_of_many_keys_while_others_write_refresh_and_close_snapshots(self):
        keys = [f"k{n}" for n in range(2000)]
        self.store.update({key: key for key in keys})
        want, stop, said = [key.encode() for key in keys], threading.Event(), []

        def read():
            try:
                while not stop.is_set():
                    if self.store.get_many(keys) != want:
                        said.append("store")
                    snapshot = self.store.snapshot()
                    closer = threading.Thread(target=snapshot.close)
                    closer.start()
                    try:
                        if snapshot.get_many(keys) != want:
                            said.append("snapshot")
                    except maph.MisuseError:
                        pass
                    closer.join()
            except Exception as error:
                said.append(error)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for n in range(60):
            self.store["other"] = str(n)
            self.store.refresh()
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(said, [])

    def test_a_transaction_that_threads_share(self):
        """Their calls take turns, also with those that go by ctypes."""
        said = []
        with self.store.transaction() as shared:

            def work(name):
                try:
                    for n in range(300):
                        key = f"{name} {n}"
                        shared[key] = key
                        shared.put(key, key, ttl=1000)
                        if shared[key] != key.encode() or shared.entry(key).key != key.encode():
                            said.append(key)
                        if n % 3 == 0:
                            del shared[key]
                except Exception as error:
                    said.append(error)

            threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual((said, len(self.store)), ([], 800))

    def test_a_cursor_that_threads_share_returns_each_entry_once(self):
        self.store.update({str(n): str(n) for n in range(2000)})
        cursor, seen = self.store.cursor(), []

        def take():
            for entry in cursor:
                seen.append(entry.key)
                cursor.tell()

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(seen), sorted(str(n).encode() for n in range(2000)))

    def test_a_range_that_threads_share_returns_each_entry_once(self):
        keys = sorted(str(n).encode() for n in range(2000))
        self.store.update({key: key for key in keys})
        whole, seen = self.store.range(), []

        def take():
            for entry in whole:
                seen.append(entry.key)
                whole.estimate()

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((sorted(seen), whole.previous().key), (keys, keys[-1]))

    def test_reads_inside_of_a_rewrites_progress(self):
        self.store.update({str(n): "v" * 100 for n in range(2000)})
        seen = []

        def progress(*_):
            thread = threading.Thread(target=lambda: seen.append(self.store["7"]))
            thread.start()
            seen.append(self.store["8"])
            thread.join()

        self.store.compact(progress)
        self.assertEqual(set(seen) | {b"v" * 100}, {b"v" * 100})

    def test_a_child_that_was_made_while_puts_were_under_way(self):
        other = maph.open(self.path, "w", busy_timeout=300)
        holder = self.store.transaction()
        thread = threading.Thread(target=lambda: other.put("k", b"v"))
        thread.start()
        self.wait_until(lambda: other._gate._busy == 1)
        child = fork()
        if child == 0:
            signal.alarm(60)
            status = 1
            try:
                with self.assertRaisesRegex(maph.MisuseError, "does not cross fork"):
                    other["k"]
                other.close()
                status = 0 if other._gate._busy == 0 else 2
            finally:
                os._exit(status)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        holder.abort()
        thread.join()
        self.assertEqual(other["k"], b"v")
        other.close()


if __name__ == "__main__":
    unittest.main()
