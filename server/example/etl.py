#!/usr/bin/python3
"""Load a catalogue from CSV into a store, then freeze a perfect hash over its keys.

usage: etl.py http://localhost:8080/stores/products sku < catalogue.csv     (sku: the column whose
values are the keys)

The rows are streamed: the file may be larger than memory.  Readers of the store go on meanwhile,
and after it.
"""
import csv
import json
import sys
import urllib.error
import urllib.request


def post(url, body=None):
    request = urllib.request.Request(
        url, body, {'Content-Type': 'application/x-ndjson'} if body else {}, method='POST'
    )
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())


def typed(text):
    """Numbers are numbers in the JSON; everything else is a string."""
    try:
        return json.loads(text, parse_constant=str) if text[:1] in '-0123456789' else text
    except ValueError:
        return text


def lines(rows, key):
    for row in rows:
        product = {name: typed(text) for name, text in row.items()}
        yield json.dumps(
            {'key': row[key], 'value': json.dumps(product), 'type': 'json'}
        ).encode() + b'\n'


def create(store):
    try:
        post(store)
    except urllib.error.HTTPError as e:
        if e.code != 409:
            raise


def load(store, key, rows):
    create(store)
    imported = post(store + '/import', lines(rows, key))
    if not imported['success']:
        sys.exit('etl: ' + json.dumps(imported))
    print(imported['imported'], 'products imported')
    post(store + '/optimize?wait=1')
    with urllib.request.urlopen(store + '/stats') as answer:
        print(json.loads(answer.read())['size'], 'products in the store')


if __name__ == '__main__':
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        load(sys.argv[1], sys.argv[2], csv.DictReader(sys.stdin))
    except urllib.error.HTTPError as e:
        sys.exit(f'etl: {e.url}: {e.read().decode()}')
    except urllib.error.URLError as e:
        sys.exit(f'etl: {sys.argv[1]}: {e.reason}; is maph-server running there?')
    except KeyError as e:
        sys.exit(f'etl: the first line of the CSV names no column {e}')
