-- duckdb: executed in tests. Sessions must be in UTC.

-- rows that nothing orders
SELECT "customer", "shop", "placed_at", "booked_at", "seq", count(*) AS n_rows, count(*) OVER () AS ties
FROM (SELECT q."customer", q."shop", CASE WHEN CAST(q."placed_at" AS TIMESTAMP) < q."placed_at" THEN CAST(q."placed_at" AS TIMESTAMP) + to_microseconds(1) ELSE CAST(q."placed_at" AS TIMESTAMP) END AS "placed_at", CASE WHEN CAST(q."booked_at" AS TIMESTAMP) < q."booked_at" THEN CAST(q."booked_at" AS TIMESTAMP) + to_microseconds(1) ELSE CAST(q."booked_at" AS TIMESTAMP) END AS "booked_at", q."seq", CAST(q."amount" AS DOUBLE) AS "amount", CAST(q."coupon" AS VARCHAR) AS "coupon"
FROM (SELECT o.customer, o.shop, o.placed_at, o.booked_at, o.seq, o.cents / 100 AS amount, o.coupon FROM il.wh_orders__1 AS "o"
WHERE o.placed_at >= CAST('2024-01-01' AS TIMESTAMP)) AS q
WHERE q."customer" IS NOT NULL AND q."shop" IS NOT NULL AND q."placed_at" IS NOT NULL AND q."booked_at" IS NOT NULL) AS t GROUP BY "customer", "shop", "placed_at", "booked_at", "seq" HAVING count(*) > 1 ORDER BY n_rows DESC, "customer", "shop", "placed_at", "booked_at", "seq" LIMIT 5;

-- a view with an order
WITH ranked AS (SELECT r.*, row_number() OVER (PARTITION BY r."customer", r."shop" ORDER BY r."placed_at" ASC NULLS FIRST, r."booked_at" ASC NULLS FIRST, r."seq" ASC NULLS FIRST) AS "__rank", greatest(r."placed_at", r."booked_at") AS "__known"
FROM (SELECT q."customer", q."shop", CASE WHEN CAST(q."placed_at" AS TIMESTAMP) < q."placed_at" THEN CAST(q."placed_at" AS TIMESTAMP) + to_microseconds(1) ELSE CAST(q."placed_at" AS TIMESTAMP) END AS "placed_at", CASE WHEN CAST(q."booked_at" AS TIMESTAMP) < q."booked_at" THEN CAST(q."booked_at" AS TIMESTAMP) + to_microseconds(1) ELSE CAST(q."booked_at" AS TIMESTAMP) END AS "booked_at", q."seq", CAST(q."amount" AS DOUBLE) AS "amount", CAST(q."coupon" AS VARCHAR) AS "coupon"
FROM (SELECT o.customer, o.shop, o.placed_at, o.booked_at, o.seq, o.cents / 100 AS amount, o.coupon FROM il.wh_orders__1 AS "o"
WHERE o.placed_at >= CAST('2024-01-01' AS TIMESTAMP)) AS q
WHERE q."customer" IS NOT NULL AND q."shop" IS NOT NULL AND q."placed_at" IS NOT NULL AND q."booked_at" IS NOT NULL) AS r),
marked AS (SELECT k.*, max(k."__rank") OVER (PARTITION BY k."customer", k."shop" ORDER BY k."__known" RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS "__top", max(CASE WHEN k."coupon" IS NOT NULL THEN k."__rank" END) OVER (PARTITION BY k."customer", k."shop" ORDER BY k."__known" RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS "__top_coupon" FROM ranked AS k) SELECT n."customer", n."shop", n."placed_at", n."booked_at", n."seq", n."amount", o0."coupon", o0."placed_at" AS "coupon__ts", s."__known"
FROM (SELECT DISTINCT m."customer", m."shop", m."__known", m."__top", m."__top_coupon" FROM marked AS m
WHERE m."__rank" = m."__top" OR m."__rank" = m."__top_coupon") AS s JOIN ranked AS n ON n."customer" = s."customer" AND n."shop" = s."shop" AND n."__rank" = s."__top"
LEFT JOIN ranked AS o0 ON o0."customer" = s."customer" AND o0."shop" = s."shop" AND o0."__rank" = s."__top_coupon";

-- a plain view
SELECT q."customer", CASE WHEN CAST(q."ts" AS TIMESTAMP) < q."ts" THEN CAST(q."ts" AS TIMESTAMP) + to_microseconds(1) ELSE CAST(q."ts" AS TIMESTAMP) END AS "ts", CAST(q."pages" AS BIGINT) AS "pages"
FROM (SELECT * FROM il.wh_visits__1 AS "visits") AS q
WHERE q."customer" IS NOT NULL AND q."ts" IS NOT NULL;

-- training rows
WITH spine AS MATERIALIZED (SELECT row_number() OVER () AS __row, CASE WHEN CAST(s."asked_at" AS TIMESTAMP) > s."asked_at" THEN CAST(s."asked_at" AS TIMESTAMP) - to_microseconds(1) ELSE CAST(s."asked_at" AS TIMESTAMP) END AS __at, CASE WHEN CAST(s."asked_at" AS TIMESTAMP) < s."asked_at" THEN CAST(s."asked_at" AS TIMESTAMP) + to_microseconds(1) ELSE CAST(s."asked_at" AS TIMESTAMP) END AS __until, s.* FROM il.spine AS s),
v0 AS (SELECT s.__row, f."placed_at" AS "__0_placed_at", f."amount" AS "__0_amount", f."coupon" AS "__0_coupon", f."coupon__ts" AS "__0_coupon__ts"
FROM (SELECT __row, __at, "customer", "shop" FROM spine) AS s ASOF JOIN il.orders_1__1 AS f ON s."customer" = f."customer" AND s."shop" = f."shop" AND s.__at >= f."__known"),
v1 AS (SELECT s.__row, f."ts" AS "__1_ts", f."pages" AS "__1_pages"
FROM (SELECT __row, __at, "customer" FROM spine) AS s ASOF JOIN il.visits_2__1 AS f ON s."customer" = f."customer" AND s.__at >= f."ts") SELECT s.* EXCLUDE (__row, __at, __until),
CASE WHEN "__0_placed_at" + to_microseconds(129600000000) >= s.__until THEN "__0_amount" END AS "amount", CASE WHEN "__0_placed_at" + to_microseconds(129600000000) >= s.__until THEN CASE WHEN "__0_coupon__ts" + to_microseconds(129600000000) >= s.__until THEN "__0_coupon" END END AS "coupon", "__0_placed_at" AS "orders_1__ts", CASE WHEN "__0_placed_at" IS NULL THEN 'missing' WHEN "__0_placed_at" + to_microseconds(129600000000) >= s.__until THEN 'fresh' ELSE 'stale' END AS "orders_1__status", "__1_pages" AS "pages", "__1_ts" AS "visits_2__ts", CASE WHEN "__1_ts" IS NULL THEN 'missing' WHEN "__1_ts" IS NOT NULL THEN 'fresh' ELSE 'stale' END AS "visits_2__status" FROM spine AS s
LEFT JOIN v0 ON v0.__row = s.__row
LEFT JOIN v1 ON v1.__row = s.__row
ORDER BY s."asked_at" ASC NULLS LAST, s."id" ASC NULLS LAST;
