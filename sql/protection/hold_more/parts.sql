-- A part less its published cells: where few listeners remain, one more cell is held, the smallest that
-- suffices.
INSERT OR IGNORE INTO held
WITH small AS (
    SELECT mart, part
    FROM parts SEMI JOIN held USING (mart, cell)
    GROUP BY mart, part
    HAVING count(DISTINCT listener) < getvariable('min_listeners')
),
published AS (
    SELECT mart, part, cell, count(DISTINCT listener) AS listeners
    FROM parts SEMI JOIN small USING (mart, part) ANTI JOIN held USING (mart, cell)
    GROUP BY mart, part, cell
)
SELECT DISTINCT mart, cell
FROM published
QUALIFY row_number() OVER (
    PARTITION BY mart, part
    ORDER BY listeners < getvariable('min_listeners'), listeners, cell
) = 1;
