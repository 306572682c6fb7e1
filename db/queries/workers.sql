-- What each worker did: its attempts, the seconds that it was busy, and those from its first to its last.
-- Parameters: search (id; NULL: all).
-- What lies between busy and present is waiting; attempts that are under way do not count.
SELECT
    e.search_id,
    a.worker,
    COUNT(*) AS attempts,
    SUM(a.finished_at - a.started_at) AS busy_seconds,
    MAX(a.finished_at) - MIN(a.started_at) AS present_seconds
FROM attempts a
JOIN evaluations e ON e.id = a.evaluation_id
WHERE a.finished_at IS NOT NULL
  AND (CAST(:search AS TEXT) IS NULL OR e.search_id = CAST(:search AS TEXT))
GROUP BY e.search_id, a.worker
ORDER BY e.search_id, a.worker
