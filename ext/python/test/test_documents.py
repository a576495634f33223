"""What the documents show is run: README.md, and the uses of Python that the project's first
description has."""

import json
import threading
import unittest

import documents
from support import ROOM, Server, ServerTest, needs_route

import maph
from maph_client import MaphClient

# hybrid-architecture.md, as it stands.
CACHE_WRITER = '''
# Python application: REST API for writes
from maph_client import MaphClient

client = MaphClient("http://localhost:8080")
cache = client.get_store("cache")

# Update via REST API
cache["hot_key"] = "new_value"
'''
CATALOGUE = '''
# Python ETL pipeline: Write processed data
import json
from maph_client import MaphClient

client = MaphClient("http://localhost:8080")
products = client.create_store("products")

for product in process_catalog():
    products[product['sku']] = json.dumps(product)

products.optimize()  # Perfect hash for known SKUs
'''
ADMIN_TOOL = '''
#!/usr/bin/env python3
# admin_tool.py - Manage products via REST API

from maph_client import MaphClient
import json

client = MaphClient("http://localhost:8080")
products = client.get_store("products")

# Update product catalog
def update_product(sku, data):
    products[sku] = json.dumps(data)
    print(f"\\u2713 Updated {sku}")

# C++ web servers see updates immediately via mmap
update_product("WIDGET-123", {
    "name": "Super Widget",
    "price": 29.99,
    "stock": 100
})
'''


class Snippets(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.stop)
        self.client = MaphClient(self.server.url)
        self.addCleanup(self.client.close)

    def run_here(self, source, names):
        return documents.run(
            source.replace("http://localhost:8080", self.server.url).replace(
                "/var/lib/maph/data", self.server.data
            ),
            names,
            self,
        )

    def test_readme(self):
        names, checked = {}, 0
        all_of_them = documents.snippets((ROOM / "README.md").read_text())
        for source in all_of_them:
            checked += self.run_here(source, names)
        self.assertEqual((len(all_of_them), checked), (5, 19))
        names["client"].close()
        self.assertEqual(self.client.get_store("copy")["a"], "1")

    def test_readme_feed(self):
        needs_route("stores/NAME/changes")
        names = {}
        self.run_here(
            [
                one
                for one in documents.snippets((ROOM / "README.md").read_text())
                if "def follow" in one
            ][0],
            names,
        )
        store, said, done = self.client.create_store("s"), [], threading.Event()
        names["print"] = lambda *what: (said.append(what), done.set())

        def follow():
            try:
                names["follow"](store, 0)
            except Exception as error:
                said.append(error)
                done.set()

        thread = threading.Thread(target=follow, daemon=True)
        store["k"] = "v"
        thread.start()
        self.assertTrue(done.wait(60))
        self.assertEqual(said, [("k", "v")])
        self.client.delete_store("s")  # the feed has nothing to follow any more

    def test_the_cache_writer_and_a_reader_of_the_file(self):
        self.client.create_store("cache")
        names = {}
        self.run_here(CACHE_WRITER, names)
        names["client"].close()
        with maph.open(f"{self.server.data}/cache.maph") as reader:
            self.assertEqual(reader["hot_key"], b"new_value")

    def test_the_admin_tool(self):
        self.client.create_store("products")
        names = {"print": lambda line: self.assertEqual(line, "\u2713 Updated WIDGET-123")}
        self.run_here(ADMIN_TOOL, names)
        names["client"].close()
        with maph.open(f"{self.server.data}/products.maph") as reader:
            self.assertEqual(
                json.loads(reader["WIDGET-123"]),
                {"name": "Super Widget", "price": 29.99, "stock": 100},
            )

    def test_the_catalogue(self):
        catalogue = [{"sku": f"WIDGET-{n}", "price": n} for n in range(500)]
        needs_route("stores/NAME/optimize")
        names = {"process_catalog": lambda: catalogue}
        self.run_here(CATALOGUE, names)
        names["client"].close()
        with maph.open(f"{self.server.data}/products.maph") as reader:
            self.assertEqual([json.loads(reader[one["sku"]]) for one in catalogue], catalogue)


class TwoDoors(ServerTest):
    def test_what_one_door_puts_the_other_sees_with_its_type(self):
        with maph.open(f"{self.server.data}/{self.name}.maph", "w") as file:
            self.store["text"], self.store["bytes"] = "t", b"b"
            self.assertEqual(
                (file.entry("text").type, file.entry("bytes").type, file.entry("bytes").media_type),
                ("text", "blob", "application/octet-stream"),
            )
            file["from file"], file[b"\xff"] = "t", b"b"
            self.assertEqual((self.store["from file"], self.store[b"\xff"]), ("t", b"b"))
            self.assertEqual(self.store.entry("from file").version, file.entry("from file").version)


if __name__ == "__main__":
    unittest.main()
