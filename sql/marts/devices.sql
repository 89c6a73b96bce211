CREATE TABLE published.devices AS
SELECT
    cell AS device_class,
    listeners,
    plays,
    listens,
    round(ms_played / 60000, 1) AS minutes,
    round(skips / plays, 4) AS skip_rate
FROM totals
ANTI JOIN held USING (mart, cell)
WHERE mart = 'devices'
ORDER BY listens DESC, device_class;

COMMENT ON TABLE published.devices IS 'Listening by kind of device. Rows of fewer listeners than the minimum are left out, and with them whatever others would give those away by subtraction.';
COMMENT ON COLUMN published.devices.device_class IS 'headphones, earbuds, speaker, phone, computer or other; (unknown) where the play has none.';
COMMENT ON COLUMN published.devices.listeners IS 'Distinct listeners with at least one play; at least the minimum.';
COMMENT ON COLUMN published.devices.plays IS 'Plays, whether they count as a listen or not.';
COMMENT ON COLUMN published.devices.listens IS 'Plays that count as listens under the configured rule.';
COMMENT ON COLUMN published.devices.minutes IS 'Minutes heard, over plays whose length is known.';
COMMENT ON COLUMN published.devices.skip_rate IS 'Share of plays that were skipped, 0 to 1.';
