"""What crosses to another process: entries, figures and errors do; stores, and what is open of
them, say what to do instead."""

import copy
import gc
import multiprocessing
import os
import pickle
import tempfile
import unittest

from support import ServerTest

import maph
import maph_client


def put_there(path, entry, sender):
    """In a process of its own: the store is opened by its path."""
    with maph.open(path, "w") as store, sender:
        store.put(b"copy of " + entry.key, entry.value, content_type=entry.content_type)
        try:
            store["missing"]
        except maph.NotFoundError as error:
            sender.send((store.entry("k"), store.stats(), error))


class StoreTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="maph-python.")
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "s.maph")
        self.store = maph.open(self.path, "c")
        self.addCleanup(self.close)
        self.store.put("k", "v", content_type="text/csv", ttl=1000)

    def close(self):
        gc.collect()
        self.store.close()


class InOneProcess(StoreTest):
    def refuses(self, one, words):
        for call in [pickle.dumps, copy.copy, copy.deepcopy]:
            with self.assertRaises(TypeError) as caught:
                call(one)
            self.assertIn(words, str(caught.exception))
            self.assertIn(f"a {type(one).__name__} belongs to the process", str(caught.exception))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            self.assertRaises(TypeError, pickle.dumps, one, protocol)

    def test_what_is_open_says_what_to_do(self):
        advice = f"maph.open({self.path!r}) there"
        with (
            self.store.snapshot() as snapshot,
            self.store.cursor() as cursor,
            self.store.range() as entries,
            self.store.changes(0) as changes,
            self.store.transaction() as transaction,
        ):
            for one in [self.store, snapshot, cursor, entries, changes, transaction]:
                self.refuses(one, advice)
        with maph.load(self.path + "2") as entries:
            self.refuses(entries, "maph.load()")
        self.store.close()
        self.refuses(self.store, advice)

    def test_entries_stats_and_errors_are_pickled(self):
        entry, stats = self.store.entry("k"), self.store.stats()
        written = self.store.put("l", "w")
        change = next(self.store.changes(0, timeout=60))
        for one in [entry, stats, written, change, next(self.store.range("l"))]:
            again = pickle.loads(pickle.dumps(one))
            self.assertEqual((again, type(again)), (one, type(one)))
        self.assertEqual((change.key, change.value, change.version), (b"k", b"v", entry.version))
        with self.assertRaises(maph.ConflictError) as caught:
            self.store.put("k", "x", if_version=entry.version + 9)
        error = pickle.loads(pickle.dumps(caught.exception))
        self.assertEqual(
            (type(error), str(error), error.version),
            (maph.ConflictError, str(caught.exception), entry.version),
        )

    def test_a_view_is_of_this_process(self):
        with self.store.cursor(views=True) as cursor:
            entry = next(cursor)
        self.assertRaisesRegex(TypeError, r"_replace\(value=bytes", pickle.dumps, entry)
        self.assertIs(copy.copy(entry), entry)
        entry = entry._replace(value=bytes(entry.value))
        self.assertEqual(pickle.loads(pickle.dumps(entry)), self.store.entry("k"))
        self.assertRaises(TypeError, pickle.dumps, self.store.view("k"))


class InTwoProcesses(StoreTest):
    def test_by_its_path_and_not_by_itself(self):
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(False)
        entry = self.store.entry("k")
        with receiver:
            with sender:
                with self.assertRaisesRegex(TypeError, "a Store belongs to the process"):
                    context.Process(target=put_there, args=(self.store, entry, sender)).start()
                child = context.Process(target=put_there, args=(self.store.path, entry, sender))
                child.start()
            seen, stats, error = receiver.recv()
            child.join()
        self.assertEqual((child.exitcode, seen, type(error)), (0, entry, maph.NotFoundError))
        child.close()
        self.assertEqual(stats["records"], 2)
        copied = self.store.entry("copy of k")
        self.assertEqual((copied.value, copied.content_type), (b"v", "text/csv"))


class ByHttp(ServerTest):
    def test_what_goes_by_connections_says_what_to_do(self):
        url = self.client.url
        with self.store.changes(0) as changes:
            job = self.store.start("check")
            job.wait()
            for one, advice in [
                (self.client, f"MaphClient({url!r})"),
                (self.store, f"MaphClient({url!r}).store({self.name!r})"),
                (self.store.batch(), "from a MaphClient of that process"),
                (changes, "from a MaphClient of that process"),
                (job, f"MaphClient({url!r}).jobs()"),
            ]:
                for call in [pickle.dumps, copy.copy, copy.deepcopy]:
                    with self.assertRaises(TypeError) as caught:
                        call(one)
                    self.assertIn(advice, str(caught.exception))

    def test_entries_stats_and_errors_are_pickled(self):
        put = self.store.put("k", b"\xff", content_type="image/png", ttl=1000)
        results = self.store.batch().get("k").commit()
        with self.store.changes(0) as changes:
            change = next(changes)
        for one in [self.store.entry("k"), self.store.stats(), results, change]:
            again = pickle.loads(pickle.dumps(one))
            self.assertEqual((again, type(again)), (one, type(one)))
        again = pickle.loads(pickle.dumps(put))
        self.assertEqual((again.version, again.created), (put.version, put.created))
        self.assertEqual(
            pickle.loads(pickle.dumps(self.store.stats())).raw, self.store.stats().raw
        )
        with self.assertRaises(maph_client.PreconditionFailedError) as caught:
            self.store.put("k", "v", if_version=put.version + 9)
        error = pickle.loads(pickle.dumps(caught.exception))
        self.assertEqual(
            (type(error), str(error), error.version, error.status),
            (maph_client.PreconditionFailedError, str(caught.exception), put.version, 412),
        )
        lost = maph_client.ConnectionLostError("nobody is there", request="GET /")
        error = pickle.loads(pickle.dumps(lost))
        self.assertEqual((type(error), str(error), error.request), (type(lost), str(lost), "GET /"))


if __name__ == "__main__":
    unittest.main()
