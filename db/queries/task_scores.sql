-- Every task score of every candidate, one row each, for a spreadsheet.
-- Parameters: search (id; NULL: all), split (NULL: all), task (NULL: all).
-- dropped: the candidate lost its race, so the score is that of the documents answered until then.
SELECT
    e.search_id,
    c.number,
    c.origin,
    c.label,
    c.generation,
    e.split,
    t.task,
    t.metric,
    CASE WHEN t.headline THEN 1 ELSE 0 END AS headline,
    t.value,
    t.stderr,
    t.n,
    CASE WHEN x.dropped THEN 1 ELSE 0 END AS dropped
FROM evaluations e
JOIN candidates c ON c.id = e.candidate_id
JOIN task_scores t ON t.evaluation_id = COALESCE(e.copied_from, e.id)
LEFT JOIN races x ON x.evaluation_id = t.evaluation_id
WHERE (CAST(:search AS TEXT) IS NULL OR e.search_id = CAST(:search AS TEXT))
  AND (CAST(:split AS TEXT) IS NULL OR e.split = CAST(:split AS TEXT))
  AND (CAST(:task AS TEXT) IS NULL OR t.task = CAST(:task AS TEXT))
ORDER BY e.search_id, c.number, e.id, t.position
