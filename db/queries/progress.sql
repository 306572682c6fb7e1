-- How far each search is: candidates asked, told, scored, dropped, taken over, failed, running, and the best.
-- Parameters: search (id; NULL: all), split (NULL: search).
SELECT
    s.id AS search_id,
    s.name,
    s.status,
    COUNT(c.id) AS candidates,
    COUNT(c.told) AS told,
    COALESCE(SUM(CASE WHEN r.status = 'scored' AND NOT COALESCE(x.dropped, FALSE) THEN 1 ELSE 0 END), 0)
        AS scored,
    COALESCE(SUM(CASE WHEN x.dropped THEN 1 ELSE 0 END), 0) AS dropped,
    COALESCE(SUM(CASE WHEN e.copied_from IS NOT NULL AND r.status = 'scored' THEN 1 ELSE 0 END), 0)
        AS taken_over,
    COALESCE(SUM(CASE WHEN r.status = 'failed' THEN 1 ELSE 0 END), 0) AS failed,
    COALESCE(SUM(CASE WHEN r.status = 'running' THEN 1 ELSE 0 END), 0) AS running,
    COALESCE(SUM(CASE WHEN r.status = 'pending' THEN 1 ELSE 0 END), 0) AS pending,
    MAX(CASE WHEN e.violation = 0 THEN e.fitness END) AS best_fitness,
    s.message
FROM searches s
LEFT JOIN candidates c ON c.search_id = s.id
LEFT JOIN evaluations e
    ON e.candidate_id = c.id AND e.split = COALESCE(CAST(:split AS TEXT), 'search')
LEFT JOIN evaluations r ON r.id = COALESCE(e.copied_from, e.id)
LEFT JOIN races x ON x.evaluation_id = r.id
WHERE CAST(:search AS TEXT) IS NULL OR s.id = CAST(:search AS TEXT)
GROUP BY s.id, s.name, s.status, s.message, s.created_at
ORDER BY s.created_at DESC, s.id
