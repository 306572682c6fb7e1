-- Where the time went: seconds of merge, load, forward passes and the rest, a search and split each.
-- Parameters: search (id; NULL: all).
-- Only attempts that decided count; wasted_seconds is the wall-clock time of all others. candidates
-- are those that were really scored: results that were taken over cost nothing.
SELECT
    e.search_id,
    e.split,
    SUM(CASE WHEN a.status = 'scored' THEN 1 ELSE 0 END) AS candidates,
    COALESCE(SUM(CASE WHEN a.status = 'scored' THEN a.merge_seconds END), 0.0) AS merge_seconds,
    COALESCE(SUM(CASE WHEN a.status = 'scored' THEN a.load_seconds END), 0.0) AS load_seconds,
    COALESCE(SUM(CASE WHEN a.status = 'scored' THEN a.forward_seconds END), 0.0) AS forward_seconds,
    COALESCE(SUM(CASE WHEN a.status = 'scored' THEN a.overhead_seconds END), 0.0) AS overhead_seconds,
    COALESCE(SUM(CASE WHEN a.status <> 'scored' THEN a.finished_at - a.started_at END), 0.0)
        AS wasted_seconds,
    CAST(COALESCE(SUM(CASE WHEN a.status = 'scored' THEN a.tokens END), 0) AS BIGINT) AS tokens
FROM attempts a
JOIN evaluations e ON e.id = a.evaluation_id
WHERE CAST(:search AS TEXT) IS NULL OR e.search_id = CAST(:search AS TEXT)
GROUP BY e.search_id, e.split
ORDER BY e.search_id, e.split
