-- The cells that are not published: those with too few listeners. What follows from holding them is in
-- hold_more.
CREATE TEMP TABLE held (mart VARCHAR, cell VARCHAR, PRIMARY KEY (mart, cell));

INSERT INTO held
SELECT DISTINCT mart, cell
FROM (
    SELECT mart, part, cell FROM cells
    GROUP BY mart, part, cell
    HAVING count(*) < getvariable('min_listeners')
);

-- Nobody back in a week: there is no row to publish, so all of the cohort is held there.
INSERT OR IGNORE INTO held
SELECT mart, cell FROM cells
WHERE mart = 'retention'
GROUP BY mart, cell
HAVING bool_and(part LIKE 'away %');
