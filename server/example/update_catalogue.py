#!/usr/bin/python3
"""Change one product of a catalogue over HTTP, while web back ends read the same file by mmap.

usage: update_catalogue.py http://localhost:8080/stores/products SKU FIELD=VALUE...

The product is read with its version and written only if nobody changed it in between; otherwise it
is read again. VALUE is JSON, or else a string.
"""
import json
import sys
import urllib.error
import urllib.parse
import urllib.request


def request(method, url, body=None, headers={}):
    with urllib.request.urlopen(
        urllib.request.Request(url, body, headers, method=method)
    ) as answer:
        return answer.read(), answer.headers


def product_at(url):
    """The product and the condition under which it may be replaced."""
    try:
        body, headers = request('GET', url)
        return json.loads(body), {'If-Match': headers['ETag']}
    except urllib.error.HTTPError as e:
        if e.code != 404:
            raise
        return {}, {'If-None-Match': '*'}


def update(store, sku, fields):
    url = store + '/keys/' + urllib.parse.quote(sku, safe='')
    while True:
        product, condition = product_at(url)
        product.update(fields)
        try:
            request(
                'PUT',
                url,
                json.dumps(product).encode(),
                {'Content-Type': 'application/json', **condition},
            )
            return product
        except urllib.error.HTTPError as e:
            if e.code != 412:
                raise


def field(argument):
    name, _, text = argument.partition('=')
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text


if __name__ == '__main__':
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    try:
        print(json.dumps(update(sys.argv[1], sys.argv[2], dict(map(field, sys.argv[3:])))))
    except urllib.error.HTTPError as e:
        sys.exit(f'update_catalogue: {e.url}: {e.read().decode()}')
    except urllib.error.URLError as e:
        sys.exit(f'update_catalogue: {sys.argv[1]}: {e.reason}; is maph-server running there?')
