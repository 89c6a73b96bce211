-- Two marts over the same part, one less the other: what is held of the one less what is held of the
-- other. Where few listeners have a share in the difference, the smallest published cell of the two is
-- held; one pair at a time, for this is rare and one cell may settle several.
INSERT OR IGNORE INTO held
WITH shared AS (
    FROM cells WHERE part IN ('all', 'listeners') OR part LIKE 'weekday %'
),
sums AS (
    SELECT
        mart, part, listener,
        sum(plays) AS plays, sum(listens) AS listens, sum(skips) AS skips, sum(ms_played) AS ms_played
    FROM shared SEMI JOIN held USING (mart, cell)
    GROUP BY mart, part, listener
),
published AS (
    SELECT mart, part, cell, count(*) AS listeners
    FROM shared ANTI JOIN held USING (mart, cell)
    GROUP BY mart, part, cell
),
marts AS (SELECT DISTINCT mart, part FROM published),
pairs AS (
    SELECT one.mart AS one, other.mart AS other, part
    FROM marts AS one JOIN marts AS other USING (part)
    WHERE one.mart < other.mart
),
shares AS (
    SELECT one, other, part, listener, plays, listens, skips, ms_played
    FROM pairs JOIN sums USING (part) WHERE mart = one
    UNION ALL
    SELECT one, other, part, listener, -plays, -listens, -skips, -ms_played
    FROM pairs JOIN sums USING (part) WHERE mart = other
),
differences AS (
    SELECT one, other, part, listener FROM shares
    GROUP BY one, other, part, listener
    HAVING sum(plays) <> 0 OR sum(listens) <> 0 OR sum(skips) <> 0 OR sum(ms_played) <> 0
),
small AS (
    SELECT one, other, part FROM differences
    GROUP BY one, other, part
    HAVING count(*) < getvariable('min_listeners')
)
SELECT mart, cell
FROM small JOIN published ON published.part = small.part AND mart IN (one, other)
ORDER BY listeners, mart, cell
LIMIT 1;
