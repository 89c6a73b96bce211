INSERT INTO shares
SELECT 'devices', 'all', cell, listener, sum(plays), sum(listens), sum(skips), sum(ms_played)
FROM listener_day
JOIN wanted ON mart = 'devices' AND cell = coalesce(device_class, '(unknown)')
ANTI JOIN restricted USING (listener)
GROUP BY cell, listener;
