-- spark: executed in tests. Sessions must be in UTC.

-- rows that nothing orders
SELECT `customer`, `shop`, `placed_at`, `booked_at`, `seq`, count(*) AS n_rows, count(*) OVER () AS ties
FROM (SELECT q.`customer`, q.`shop`, CAST(q.`placed_at` AS TIMESTAMP_NTZ) AS `placed_at`, CAST(q.`booked_at` AS TIMESTAMP_NTZ) AS `booked_at`, q.`seq`, CAST(q.`amount` AS DOUBLE) AS `amount`, CAST(q.`coupon` AS STRING) AS `coupon`
FROM (SELECT o.customer, o.shop, o.placed_at, o.booked_at, o.seq, o.cents / 100 AS amount, o.coupon FROM il.wh_orders__1 AS `o`
WHERE o.placed_at >= CAST('2024-01-01' AS TIMESTAMP_NTZ)) AS q
WHERE q.`customer` IS NOT NULL AND q.`shop` IS NOT NULL AND q.`placed_at` IS NOT NULL AND q.`booked_at` IS NOT NULL) AS t GROUP BY `customer`, `shop`, `placed_at`, `booked_at`, `seq` HAVING count(*) > 1 ORDER BY n_rows DESC, `customer`, `shop`, `placed_at`, `booked_at`, `seq` LIMIT 5;

-- a view with an order
WITH ranked AS (SELECT r.*, row_number() OVER (PARTITION BY r.`customer`, r.`shop` ORDER BY r.`placed_at` ASC NULLS FIRST, r.`booked_at` ASC NULLS FIRST, r.`seq` ASC NULLS FIRST) AS `__rank`, greatest(r.`placed_at`, r.`booked_at`) AS `__known`
FROM (SELECT q.`customer`, q.`shop`, CAST(q.`placed_at` AS TIMESTAMP_NTZ) AS `placed_at`, CAST(q.`booked_at` AS TIMESTAMP_NTZ) AS `booked_at`, q.`seq`, CAST(q.`amount` AS DOUBLE) AS `amount`, CAST(q.`coupon` AS STRING) AS `coupon`
FROM (SELECT o.customer, o.shop, o.placed_at, o.booked_at, o.seq, o.cents / 100 AS amount, o.coupon FROM il.wh_orders__1 AS `o`
WHERE o.placed_at >= CAST('2024-01-01' AS TIMESTAMP_NTZ)) AS q
WHERE q.`customer` IS NOT NULL AND q.`shop` IS NOT NULL AND q.`placed_at` IS NOT NULL AND q.`booked_at` IS NOT NULL) AS r),
marked AS (SELECT k.*, max(k.`__rank`) OVER (PARTITION BY k.`customer`, k.`shop` ORDER BY k.`__known` RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS `__top`, max(CASE WHEN k.`coupon` IS NOT NULL THEN k.`__rank` END) OVER (PARTITION BY k.`customer`, k.`shop` ORDER BY k.`__known` RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS `__top_coupon` FROM ranked AS k) SELECT n.`customer`, n.`shop`, n.`placed_at`, n.`booked_at`, n.`seq`, n.`amount`, o0.`coupon`, o0.`placed_at` AS `coupon__ts`, s.`__known`
FROM (SELECT DISTINCT m.`customer`, m.`shop`, m.`__known`, m.`__top`, m.`__top_coupon` FROM marked AS m
WHERE m.`__rank` = m.`__top` OR m.`__rank` = m.`__top_coupon`) AS s JOIN ranked AS n ON n.`customer` = s.`customer` AND n.`shop` = s.`shop` AND n.`__rank` = s.`__top`
LEFT JOIN ranked AS o0 ON o0.`customer` = s.`customer` AND o0.`shop` = s.`shop` AND o0.`__rank` = s.`__top_coupon`;

-- a plain view
SELECT q.`customer`, CAST(q.`ts` AS TIMESTAMP_NTZ) AS `ts`, CAST(q.`pages` AS BIGINT) AS `pages`
FROM (SELECT * FROM il.wh_visits__1 AS `visits`) AS q
WHERE q.`customer` IS NOT NULL AND q.`ts` IS NOT NULL;

-- training rows
WITH w0 AS (SELECT s.`id`, s.`customer`, s.`shop`, s.`asked_at`, CAST(s.`asked_at` AS TIMESTAMP_NTZ) AS __at, CAST(s.`asked_at` AS TIMESTAMP_NTZ) AS __until FROM il.spine AS s),
u0 AS (SELECT p.`id`, p.`customer`, p.`shop`, p.`asked_at`, p.__at, p.__until, 1 AS __side, NULL AS `__0_placed_at`, NULL AS `__0_amount`, NULL AS `__0_coupon`, NULL AS `__0_coupon__ts` FROM w0 AS p
UNION ALL SELECT NULL, f.`customer`, f.`shop`, NULL, f.`__known`, NULL, 0, f.`placed_at`, f.`amount`, f.`coupon`, f.`coupon__ts` FROM il.orders_1__1 AS f),
g0 AS (SELECT u.*, count(`__0_placed_at`) OVER (PARTITION BY `customer`, `shop`, CASE WHEN __at IS NULL THEN 1 ELSE 0 END ORDER BY __at, __side ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS __met FROM u0 AS u),
l0 AS (SELECT g.`id`, g.`customer`, g.`shop`, g.`asked_at`, __at, __until, __side, first_value(`__0_placed_at`) OVER (PARTITION BY `customer`, `shop`, CASE WHEN __at IS NULL THEN 1 ELSE 0 END, __met ORDER BY __at, __side ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS `__0_placed_at`, first_value(`__0_amount`) OVER (PARTITION BY `customer`, `shop`, CASE WHEN __at IS NULL THEN 1 ELSE 0 END, __met ORDER BY __at, __side ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS `__0_amount`, first_value(`__0_coupon`) OVER (PARTITION BY `customer`, `shop`, CASE WHEN __at IS NULL THEN 1 ELSE 0 END, __met ORDER BY __at, __side ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS `__0_coupon`, first_value(`__0_coupon__ts`) OVER (PARTITION BY `customer`, `shop`, CASE WHEN __at IS NULL THEN 1 ELSE 0 END, __met ORDER BY __at, __side ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS `__0_coupon__ts` FROM g0 AS g),
w1 AS (SELECT g.`id`, g.`customer`, g.`shop`, g.`asked_at`, __at, __until, `__0_placed_at`, `__0_amount`, `__0_coupon`, `__0_coupon__ts` FROM l0 AS g
WHERE __side = 1),
u1 AS (SELECT p.`id`, p.`customer`, p.`shop`, p.`asked_at`, p.`__0_placed_at`, p.`__0_amount`, p.`__0_coupon`, p.`__0_coupon__ts`, p.__at, p.__until, 1 AS __side, NULL AS `__1_ts`, NULL AS `__1_pages` FROM w1 AS p
UNION ALL SELECT NULL, f.`customer`, NULL, NULL, NULL, NULL, NULL, NULL, f.`ts`, NULL, 0, f.`ts`, f.`pages` FROM il.visits_2__1 AS f),
g1 AS (SELECT u.*, count(`__1_ts`) OVER (PARTITION BY `customer`, CASE WHEN __at IS NULL THEN 1 ELSE 0 END ORDER BY __at, __side ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS __met FROM u1 AS u),
l1 AS (SELECT g.`id`, g.`customer`, g.`shop`, g.`asked_at`, g.`__0_placed_at`, g.`__0_amount`, g.`__0_coupon`, g.`__0_coupon__ts`, __at, __until, __side, first_value(`__1_ts`) OVER (PARTITION BY `customer`, CASE WHEN __at IS NULL THEN 1 ELSE 0 END, __met ORDER BY __at, __side ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS `__1_ts`, first_value(`__1_pages`) OVER (PARTITION BY `customer`, CASE WHEN __at IS NULL THEN 1 ELSE 0 END, __met ORDER BY __at, __side ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS `__1_pages` FROM g1 AS g),
w2 AS (SELECT g.`id`, g.`customer`, g.`shop`, g.`asked_at`, g.`__0_placed_at`, g.`__0_amount`, g.`__0_coupon`, g.`__0_coupon__ts`, __at, __until, `__1_ts`, `__1_pages` FROM l1 AS g
WHERE __side = 1) SELECT s.`id`, s.`customer`, s.`shop`, s.`asked_at`, CASE WHEN timestampdiff(MICROSECOND, `__0_placed_at`, s.__until) <= 129600000000 THEN `__0_amount` END AS `amount`, CASE WHEN timestampdiff(MICROSECOND, `__0_placed_at`, s.__until) <= 129600000000 THEN CASE WHEN timestampdiff(MICROSECOND, `__0_coupon__ts`, s.__until) <= 129600000000 THEN `__0_coupon` END END AS `coupon`, `__0_placed_at` AS `orders_1__ts`, CASE WHEN `__0_placed_at` IS NULL THEN 'missing' WHEN timestampdiff(MICROSECOND, `__0_placed_at`, s.__until) <= 129600000000 THEN 'fresh' ELSE 'stale' END AS `orders_1__status`, `__1_pages` AS `pages`, `__1_ts` AS `visits_2__ts`, CASE WHEN `__1_ts` IS NULL THEN 'missing' WHEN `__1_ts` IS NOT NULL THEN 'fresh' ELSE 'stale' END AS `visits_2__status` FROM w2 AS s
ORDER BY s.`asked_at` ASC NULLS LAST, s.`id` ASC NULLS LAST;
