-- A cohort that is not published has no later weeks either.
INSERT OR IGNORE INTO held
SELECT DISTINCT cells.mart, cells.cell
FROM cells
JOIN held ON held.mart = 'retention' AND cells.cell LIKE held.cell || ' %'
WHERE cells.mart = 'retention';
