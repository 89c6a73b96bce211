INSERT INTO shares (mart, part, cell, listener)
WITH cohorts AS (SELECT cell FROM wanted WHERE mart = 'retention' AND NOT contains(cell, ' ')),
joined AS (
    SELECT listener, date_trunc('week', min(day))::DATE::VARCHAR AS cell
    FROM listener_day
    ANTI JOIN restricted USING (listener)
    GROUP BY listener
)
SELECT 'retention', 'listeners', cell, listener FROM joined SEMI JOIN cohorts USING (cell);
