-- Attempts that failed, were lost or came late, newest first.
-- Parameters: search (id; NULL: all), limit (NULL: 50).
SELECT
    e.search_id,
    c.number,
    e.split,
    a.number AS attempt,
    a.worker,
    a.status,
    a.error_type,
    a.error,
    a.finished_at - a.started_at AS seconds,
    e.status AS evaluation_is_now
FROM attempts a
JOIN evaluations e ON e.id = a.evaluation_id
JOIN candidates c ON c.id = e.candidate_id
WHERE a.status IN ('failed', 'lost', 'late')
  AND (CAST(:search AS TEXT) IS NULL OR e.search_id = CAST(:search AS TEXT))
ORDER BY a.finished_at DESC, e.id, a.number
LIMIT COALESCE(CAST(:limit AS INTEGER), 50)
