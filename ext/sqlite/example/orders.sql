-- orders.sql - orders in SQLite joined with a products store that maph-server writes:
--     sqlite3 shop.db < orders.sql
.load maph
.mode box

-- The store is read as it is when each statement begins; no copy of it is made.  mode=ro: this
-- connection never writes it.
CREATE VIRTUAL TABLE IF NOT EXISTS products USING maph('products.maph', mode=ro);
CREATE TABLE IF NOT EXISTS orders(id INTEGER PRIMARY KEY, customer, sku, pieces);
INSERT OR REPLACE INTO orders VALUES
  (1, 'ann', 'WIDGET-123', 2),
  (2, 'bob', 'WIDGET-124', 1),
  (3, 'ann', 'WIDGET-124', 4),
  (4, 'eve', 'NO-SUCH-1', 1);

-- What each customer owes.  The join asks the store for the keys of the orders, and reads no other
-- product.
SELECT customer, sum(pieces) AS pieces, round(sum(pieces * (value ->> '$.price')), 2) AS total
  FROM orders JOIN products ON products.key = orders.sku
 GROUP BY customer ORDER BY customer;

-- Orders of what is not in the catalogue.
SELECT id, customer, sku FROM orders WHERE sku NOT IN (SELECT key FROM products);

-- Orders of more than the stock.
SELECT id, sku, pieces, value ->> '$.stock' AS stock
  FROM orders JOIN products ON products.key = orders.sku
 WHERE pieces > value ->> '$.stock';
