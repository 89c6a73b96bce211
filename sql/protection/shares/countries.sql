INSERT INTO shares
SELECT 'countries', 'all', cell, listener, sum(plays), sum(listens), sum(skips), sum(ms_played)
FROM listener_day
JOIN wanted ON mart = 'countries' AND cell = coalesce(country, '(unknown)')
ANTI JOIN restricted USING (listener)
GROUP BY cell, listener;
